import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { aDevice, aSpec } from "../../test/support/device.ts";
import { Assignment, type ServedState } from "./assignment.ts";
import { offeredElsewhere } from "../kubelet/other-offers.ts";
import type { Device } from "../host/device.ts";
import { ContainerAllocateResponse } from "../kubelet/api/deviceplugin.ts";
import { PodAllocations } from "../kubelet/pod-allocations.ts";
import { kubeletPaths, type KubeletPaths } from "../kubelet/kubelet-paths.ts";
import { createLog } from "../process/log.ts";
import type { Pool } from "../pools/pool.ts";

let root = "";
let paths: KubeletPaths;
let log: ReturnType<typeof createLog>;
beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/assignment-`);
  log = createLog({ format: "text", verbosity: 0, folder: `${root}/log`, stderr: "errors" });
  paths = kubeletPaths(root);
  mkdirSync(paths.devicePlugins);
});
afterAll(async () => {
  await log.finish();
  rmSync(root, { recursive: true });
});

const a = aDevice({ id: "0000:3b:02.0", driver: "vfio-pci" });
const b = aDevice({ id: "0000:3b:02.1", driver: "iavf" });
const A = aSpec({ name: "A", selectors: [{ drivers: ["vfio-pci"] }] });
const B = aSpec({ name: "B" });

let pods: Set<string>;
let connectedSince: number | null;
let reads: number;
let again: number[];
let assignment: Assignment;
let served: ReadonlyMap<string, Pool>;
let prepared: Map<string, { readonly resource: string; readonly pod: string }>;
beforeEach(() => {
  pods = new Set();
  prepared = new Map();
  connectedSince = null;
  reads = 0;
  again = [];
  served = new Map();
  const podCgroups = () => {
    reads++;
    return pods;
  };
  assignment = new Assignment(
    {
      root,
      podAllocations: new PodAllocations(paths, { podCgroups, inUse: () => new Map() }),
      offeredElsewhere: (ours) => offeredElsewhere(paths, ours),
      again: (after) => again.push(after),
    },
    log,
  );
});

const record = (ids: readonly string[], resource: string, hostPath?: string) => ({
  PodUID: "uid",
  ContainerName: "main",
  ResourceName: resource,
  DeviceIDs: { "0": ids },
  AllocResp: Buffer.from(
    ContainerAllocateResponse.encode({
      envs: {},
      mounts: [],
      devices: hostPath === undefined ? [] : [{ hostPath, containerPath: hostPath, permissions: "rw" }],
      annotations: {},
      cdiDevices: [],
    }).finish(),
  ).toString("base64"),
});
const checkpoint = (...entries: readonly object[]) =>
  writeFileSync(paths.checkpoint, JSON.stringify({ Data: { PodDeviceEntries: entries } }));

const state = (): ServedState => ({
  pools: served,
  connectedSince: new Map(connectedSince === null ? [] : [[A.resource, connectedSince]]),
  prepared,
});

/** A function that vfio-pci drives is in this IOMMU group from now on. */
function setGroup({ id }: Device, group: number): void {
  const folder = `${root}/sys/bus/pci/devices/${id}`;
  mkdirSync(folder, { recursive: true });
  rmSync(`${folder}/iommu_group`, { force: true });
  symlinkSync(`../../../../kernel/iommu_groups/${group}`, `${folder}/iommu_group`);
}

/** Assigns, and serves what comes of it; gives the devices of each pool, those that are Unhealthy marked by "!". */
async function assigned(devices: readonly Device[], isRescan = true, specs = [A, B]) {
  const pools = await assignment.assign(specs, devices, state(), isRescan);
  served = new Map(pools.map((pool) => [pool.spec.resource, pool]));
  return Object.fromEntries(
    pools.map(({ spec, claims, unhealthy }) => [
      spec.name,
      [...claims.keys()].map((id) => `${id}${unhealthy.has(id) ? "!" : ""}`),
    ]),
  );
}

describe("the evidence is read", () => {
  test("when something moved, and not at links' events", async () => {
    checkpoint();
    await assigned([a]);
    expect(reads).toBe(1);
    for (let events = 0; events < 5; events++) await assigned([a], false);
    await assigned([a]);
    expect(reads).toBe(1);
    await assigned([a, b], false);
    expect(reads).toBe(2);
    await assigned([b, { ...a, driver: "iavf" }], false);
    expect(reads).toBe(3);
  });

  test("while a device waits for its pod's end: at each scan of the functions, and not at links' events", async () => {
    checkpoint(record([b.id], A.resource));
    pods.add("uid");
    expect(await assigned([a, b])).toEqual({ A: [a.id, `${b.id}!`], B: [] });
    expect(again).toHaveLength(1);
    await assigned([a, b]);
    expect(reads).toBe(2);
    for (let events = 0; events < 5; events++) await assigned([a, b], false);
    expect(reads).toBe(2);
    await assigned([a, b]);
    expect(reads).toBe(3);
    pods.clear();
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [b.id] });
  });

  test("last: a device that is allocated while the sockets of other plugins are probed stays in its pool", async () => {
    checkpoint();
    const podAllocations = new PodAllocations(paths, { podCgroups: () => pods, inUse: () => new Map() });
    let isAllocated = false;
    assignment = new Assignment(
      {
        root,
        podAllocations,
        offeredElsewhere: async () => {
          if (isAllocated) podAllocations.allocated(A.resource, [a.id]);
          return new Map();
        },
        again: () => {},
      },
      log,
    );
    expect(await assigned([a])).toEqual({ A: [a.id], B: [] });
    isAllocated = true;
    expect(await assigned([{ ...a, driver: "iavf" }])).toEqual({ A: [`${a.id}!`], B: [] });
  });

  test("again when there was none, and until then every served device stays where it is", async () => {
    checkpoint();
    await assigned([a, b]);
    writeFileSync(paths.checkpoint, "no JSON");
    const moved = { ...a, driver: "iavf" };
    expect(await assigned([moved, b])).toEqual({ A: [`${a.id}!`], B: [b.id] });
    checkpoint();
    expect(await assigned([moved, b])).toEqual({ A: [], B: [a.id, b.id] });
  });
});

describe("a device that another plugin offers as another resource", () => {
  const other = "example.com/old";
  const registered = (resource: string) =>
    writeFileSync(
      paths.checkpoint,
      JSON.stringify({ Data: { PodDeviceEntries: [], RegisteredDevices: { [resource]: [b.id], [A.resource]: [] } } }),
    );
  const listening = async (resource: string) => {
    const server = createServer();
    const path = `${paths.devicePlugins}/${resource.replace("/", "_")}.sock`;
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return { close: () => new Promise((resolve) => server.close(resolve)) };
  };

  test("comes to a pool when that one has ended, and is shown meanwhile", async () => {
    registered(other);
    const plugin = await listening(other);
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [] });
    expect(again).toEqual([1000]);
    expect(assignment.retentions).toEqual([
      { device: b.id, resource: other, pod: "another plugin", kind: "withheld", nextPool: B.resource },
    ]);
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [] });
    await plugin.close();
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [b.id] });
    expect(assignment.retentions).toEqual([]);
    expect(again).toHaveLength(2);
  });

  test("is in its pool at once when that one has ended before: the checkpoint still names it", async () => {
    registered(other);
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [b.id] });
    expect(again).toEqual([]);
  });

  test("is in its pool at once when the other one offers it as that pool", async () => {
    registered(B.resource);
    const plugin = await listening(B.resource);
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [b.id] });
    await plugin.close();
  });

  test("stays in its pool when that one comes later", async () => {
    checkpoint();
    await assigned([a, b]);
    registered(other);
    const plugin = await listening(other);
    expect(await assigned([a, b])).toEqual({ A: [a.id], B: [b.id] });
    await plugin.close();
  });
});

test("cached answers of other plugins, and of what is in no pool, are no reason to read the evidence again", async () => {
  checkpoint(record(["GPU-1"], "x.io/gpu", "/dev/gpu0"), record(["0000:99:00.0"], A.resource, "/dev/vfio/9"));
  await assigned([a, b]);
  for (let scans = 0; scans < 3; scans++) await assigned([a, b]);
  expect(reads).toBe(1);
});

describe("a device of a cached answer with other nodes is Unhealthy", () => {
  const five = 5 * 60_000;
  const start = async () => {
    checkpoint(record([a.id], A.resource, "/dev/vfio/2"));
    setGroup(a, 3);
    expect(await assigned([a, b])).toEqual({ A: [`${a.id}!`], B: [b.id] });
  };

  test("until the checkpoint drops it", async () => {
    await start();
    expect(await assigned([a, b])).toMatchObject({ A: [`${a.id}!`] });
    checkpoint();
    expect(await assigned([a, b])).toMatchObject({ A: [a.id] });
  });

  test("until its nodes are those again", async () => {
    await start();
    setGroup(a, 2);
    expect(await assigned([a, b])).toMatchObject({ A: [a.id] });
  });

  test("for five minutes after the kubelet connected", async () => {
    await start();
    connectedSince = Date.now() - five + 10_000;
    expect(await assigned([a, b])).toMatchObject({ A: [`${a.id}!`] });
    connectedSince = Date.now() - five;
    expect(await assigned([a, b])).toMatchObject({ A: [a.id] });
  });

  test("and not when it was cached after our start, by an answer of ours", async () => {
    checkpoint();
    await assigned([a, b]);
    checkpoint(record([a.id], A.resource, "/dev/vfio/2"));
    setGroup(a, 3);
    expect(await assigned([a])).toMatchObject({ A: [a.id] });
  });
});

describe("a device that is prepared for a claim", () => {
  const pod = "claim default/pod";

  test("comes to no pool of the device plugin before the claim ends", async () => {
    checkpoint();
    prepared.set(a.id, { resource: "dra.example.com", pod });
    expect(await assigned([a, b])).toEqual({ A: [], B: [b.id] });
    expect(assignment.retentions).toEqual([
      { device: a.id, resource: "dra.example.com", pod, kind: "withheld", nextPool: A.resource },
    ]);
    prepared.clear();
    expect(await assigned([a, b], false)).toEqual({ A: [a.id], B: [b.id] });
    expect(assignment.retentions).toEqual([]);
  });

  test("stays in the pool that it was prepared of, whatever the config has become", async () => {
    checkpoint();
    prepared.set(b.id, { resource: A.resource, pod });
    expect(await assigned([a, b])).toEqual({ A: [a.id, `${b.id}!`], B: [] });
    expect(assignment.retentions).toEqual([
      { device: b.id, resource: A.resource, pod, kind: "retained", nextPool: B.resource },
    ]);
    prepared.clear();
    expect(await assigned([a, b], false)).toEqual({ A: [a.id], B: [b.id] });
  });
});
