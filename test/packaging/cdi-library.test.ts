// Does the Container Device Interface's own library take our specs? It is what containerd and CRI-O are built with.

import { afterAll, describe, expect } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { claimedDevices, prepareClaim } from "../../src/allocation/claim.ts";
import { cdiAnnotationKey, cdiDeviceName, sliceDeviceName } from "../../src/pools/names.ts";
import type { DeviceNode } from "../../src/allocation/contributions.ts";
import { CdiFiles } from "../../src/files/cdi-files.ts";
import { aCharDevice, aClaim, aDevice, aSpec, someFacts } from "../support/device.ts";
import { missingPrograms, testWhere } from "./needs.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function newFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/sriovdp-cdi-library-`);
  folders.push(folder);
  return folder;
}

/** What the library finds in a folder: see cdi-library/main.go. */
function ask(folder: string, annotations: Readonly<Record<string, string>>) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    ["go", "run", "-mod=readonly", ".", folder, JSON.stringify(annotations)],
    { cwd: `${import.meta.dir}/cdi-library` },
  );
  if (exitCode !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as {
    readonly refused: readonly string[] | null;
    readonly devices: readonly string[];
    readonly versions: Readonly<Record<string, { readonly written: string; readonly lowest: string }>>;
    readonly annotated: readonly string[];
    readonly nodes: readonly string[];
  };
}

/** Nodes that every machine has: the library looks them up when it gives them to a container. */
const node = (containerPath: string, hostPath = "/dev/null"): DeviceNode => ({ hostPath, containerPath });

describe("the CDI library", () => {
  testWhere(missingPrograms("go"), "takes the specs of pools of every kind, and finds each device", () => {
    const pools = [
      { spec: aSpec({ name: "a" }), devices: { "0000:3b:02.1": [node("/dev/vfio/vfio"), node("/dev/vfio/2")] } },
      {
        spec: aSpec({ name: "b" }),
        devices: {
          "0000:03:02.1": [node("/dev/vfio/vfio"), node("/dev/vfio/3")],
          "10000:e1:00.0": [node("/dev/uio0")],
        },
      },
      {
        spec: aSpec({ name: "sf", deviceType: "auxNetDevice" }),
        devices: { "mlx5_core.sf.4": [node("/dev/infiniband/uverbs4"), node("/dev/infiniband/rdma_cm")] },
      },
      { spec: aSpec({ name: "fpga", deviceType: "accelerator" }), devices: { "abcd:00:02.0": [node("/dev/vfio/9")] } },
      { spec: aSpec({ name: "other", prefix: "a.b-c.io" }), devices: { "0000:3b:02.1": [node("/dev/vfio/2")] } },
      { spec: aSpec({ name: "nodes-of-none" }), devices: { "0000:3b:02.7": [] } },
    ];
    const folder = newFolder();
    const specs = new CdiFiles(folder);
    for (const { spec, devices } of pools) specs.describe(spec, new Map(Object.entries(devices)));
    const names = pools
      .flatMap(({ spec, devices }) => Object.entries(devices).map(([id, nodes]) => ({ spec, id, nodes })))
      .filter(({ nodes }) => nodes.length > 0)
      .map(({ spec, id }) => cdiDeviceName(spec, id))
      .toSorted();
    const annotations = Object.fromEntries(
      pools.slice(0, -1).map(({ spec, devices }) => [
        cdiAnnotationKey(spec),
        Object.keys(devices)
          .map((id) => cdiDeviceName(spec, id))
          .join(","),
      ]),
    );
    const found = ask(folder, annotations);
    expect(found.refused).toBeNull();
    expect(found.devices.toSorted()).toEqual(names);
    expect(found.annotated.toSorted()).toEqual(names);
    expect(Object.keys(found.versions)).toHaveLength(readdirSync(folder).length);
    for (const { written, lowest } of Object.values(found.versions)) expect(written).toBe(lowest);
    const nodes = new Set(
      pools.flatMap(({ devices }) => Object.values(devices).flat()).map((each) => each.containerPath),
    );
    expect(found.nodes.toSorted()).toEqual([...nodes].toSorted());
  });

  testWhere(missingPrograms("go"), "takes the spec of a DRA claim, with and without device nodes", () => {
    const devices = ["0000:3b:02.0", "0000:3b:02.1", "0000:3b:02.2"].map((id) => aDevice({ id }));
    const spec = aSpec({ additionalInfo: { "*": { note: 'quotes ", = and line\nbreaks' } } });
    const pool = { spec, claims: new Map(devices.map((device) => [device.id, aClaim(device)])), unhealthy: new Map() };
    const results = devices.map(({ id }, index) => ({
      request: index === 0 ? "control" : "data/fast",
      driver: "sriovdp.example.com",
      pool: "node-a/0000-3b-00.0",
      device: sliceDeviceName(id),
      adminAccess: false,
      shareId: null,
    }));
    const claim = {
      uid: crypto.randomUUID(),
      namespace: "default",
      name: "nics",
      pods: [{ name: "pod", uid: "a" }],
      results,
    };
    const driver = "sriovdp.example.com";
    const prepared = prepareClaim(
      claim,
      claimedDevices(claim, driver, [pool]),
      ({ id }) => someFacts(id.endsWith("0") ? {} : { uio: aCharDevice("/dev/null") }),
      driver,
    );
    const folder = newFolder();
    writeFileSync(`${folder}/claim.json`, JSON.stringify(prepared.spec));
    const found = ask(folder, {});
    expect(found.refused).toBeNull();
    expect(found.devices.toSorted()).toEqual(prepared.devices.flatMap(({ cdiDeviceIds }) => cdiDeviceIds).toSorted());
    expect(found.versions).toEqual({ [`${folder}/claim.json`]: { written: "0.6.0", lowest: "0.6.0" } });
    expect(found.nodes).toEqual(["/dev/null"]);
  });

  testWhere(missingPrograms("go"), "refuses what we take care of: a device in two specs, and one without edits", () => {
    const folder = newFolder();
    const nodes = new Map([["0000:3b:02.1", [node("/dev/vfio/2")]]]);
    for (const name of ["a", "b"]) new CdiFiles(folder).describe(aSpec({ name }), nodes);
    writeFileSync(
      `${folder}/empty.yaml`,
      "cdiVersion: 0.5.0\nkind: intel.com/empty\ndevices: [{ name: a, containerEdits: {} }]\n",
    );
    const { refused, devices } = ask(folder, {});
    expect(devices).toBeEmpty();
    expect(refused?.join("\n")).toContain('conflicting device "intel.com/net-pci=0000:3b:02.1"');
    expect(refused?.join("\n")).toContain("empty.yaml");
  });
});
