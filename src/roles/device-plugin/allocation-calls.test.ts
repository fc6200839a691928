import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { parse } from "yaml";
import { aClaim, aDevice, aSpec } from "../../../test/support/device.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../../test/support/plugin.ts";
import { PodAllocations } from "../../kubelet/pod-allocations.ts";
import { kubeletPaths } from "../../kubelet/kubelet-paths.ts";
import { status, StatusError } from "../../kubelet/grpc/status-error.ts";
import type { Pool } from "../../pools/pool.ts";
import { createLog } from "../../process/log.ts";
import { type AllocateContext, handleAllocate } from "./allocation-calls.ts";
import { CdiSpecs } from "./cdi-specs.ts";
import { DeviceInfo } from "./device-info-retention.ts";

let logs = "";
let log: ReturnType<typeof createLog>;
beforeAll(() => {
  logs = temporaryFolder();
  log = createLog({ format: "text", verbosity: 0, folder: logs, stderr: "errors" });
});
afterAll(async () => {
  await log.finish();
  removeTemporaryFolder(logs);
});

const [a, b] = [0, 1].map((index) => aDevice({ id: `0000:3b:02.${index}`, driver: "vfio-pci" })) as [
  ReturnType<typeof aDevice>,
  ReturnType<typeof aDevice>,
];
const spec = aSpec({ prefix: "intel.com", name: "net" });
const pool: Pool = {
  spec,
  claims: new Map([a, b].map((device) => [device.id, aClaim(device)])),
  unhealthy: new Map(),
};

let root = "";
let podAllocations: PodAllocations;
beforeEach(() => {
  root = temporaryFolder();
  setGroup(a.id, 7);
  setGroup(b.id, 8);
  podAllocations = new PodAllocations(kubeletPaths(`${root}/var/lib/kubelet`), {
    podCgroups: () => null,
    inUse: () => new Map(),
  });
});
afterEach(() => removeTemporaryFolder(root));

/** The IOMMU group of a function that vfio-pci drives, from now on. */
function setGroup(id: string, group: number): void {
  const folder = `${root}/sys/bus/pci/devices/${id}`;
  mkdirSync(folder, { recursive: true });
  rmSync(`${folder}/iommu_group`, { force: true });
  symlinkSync(`../../../../kernel/iommu_groups/${group}`, `${folder}/iommu_group`);
}

const contextOf = (cdi: CdiSpecs | null = null): AllocateContext => ({
  root,
  deviceInfo: new DeviceInfo(root, podAllocations, () => new Set(), log),
  cdi,
});
const cdiOf = (mode: "cdi-devices" | "annotations" = "cdi-devices") =>
  new CdiSpecs({ root, mode, podAllocations }, log);
const requestOf = (...containers: string[][]) => ({
  containerRequests: containers.map((devicesIds) => ({ devicesIds })),
});
const specFile = () => `${root}/var/run/cdi/sriov-dp-intel.com-net-pci-net.yaml`;
const describedIn = () => {
  const { devices } = parse(readFileSync(specFile(), "utf8")) as {
    devices: { name: string; containerEdits: { deviceNodes: { path: string }[] } }[];
  };
  return Object.fromEntries(
    devices.map(({ name, containerEdits }) => [name, containerEdits.deviceNodes.map(({ path }) => path)]),
  );
};
const refusalOf = (action: () => unknown): StatusError => {
  try {
    action();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
  throw new Error("it was not refused");
};

test("the answer has the nodes of now, and the device-info files are written before", () => {
  setGroup(a.id, 9);
  const { containerResponses } = handleAllocate(pool, requestOf([a.id], [b.id]), contextOf());
  expect(containerResponses.map(({ devices }) => devices.map(({ hostPath }) => hostPath))).toEqual([
    ["/dev/vfio/vfio", "/dev/vfio/9"],
    ["/dev/vfio/vfio", "/dev/vfio/8"],
  ]);
  expect(readdirSync(`${root}/var/run/k8s.cni.cncf.io/devinfo/dp`).sort()).toEqual([
    `intel.com-net-${a.id}-device.json`,
    `intel.com-net-${b.id}-device.json`,
  ]);
});

describe("by CDI", () => {
  test("the answer names devices, and the spec has their nodes of now", () => {
    const cdi = cdiOf();
    expect(cdi.describe(pool)).toBe(true);
    expect(describedIn()).toEqual({
      [a.id]: ["/dev/vfio/vfio", "/dev/vfio/7"],
      [b.id]: ["/dev/vfio/vfio", "/dev/vfio/8"],
    });
    setGroup(a.id, 9);
    const [answer] = handleAllocate(pool, requestOf([a.id]), contextOf(cdi)).containerResponses;
    expect(answer?.devices).toEqual([]);
    expect(answer?.cdiDevices).toEqual([{ name: `intel.com/net-pci=${a.id}` }]);
    expect(answer?.envs["PCIDEVICE_INTEL_COM_NET_INFO"]).toContain("/dev/vfio/9");
    expect(describedIn()).toEqual({
      [a.id]: ["/dev/vfio/vfio", "/dev/vfio/9"],
      [b.id]: ["/dev/vfio/vfio", "/dev/vfio/8"],
    });
  });

  test("an annotation names them for a kubelet without the field", () => {
    const cdi = cdiOf("annotations");
    const [answer] = handleAllocate(pool, requestOf([b.id]), contextOf(cdi)).containerResponses;
    expect(answer?.cdiDevices).toEqual([]);
    expect(answer?.annotations).toEqual({ "cdi.k8s.io/intel.com_net-pci_net": `intel.com/net-pci=${b.id}` });
  });

  test("a spec that can't be written refuses the request as INTERNAL", () => {
    const cdi = cdiOf();
    mkdirSync(`${root}/var/run`, { recursive: true });
    writeFileSync(`${root}/var/run/cdi`, "");
    const refusal = refusalOf(() => handleAllocate(pool, requestOf([a.id]), contextOf(cdi)));
    expect([refusal.code, refusal.message]).toEqual([
      status.INTERNAL,
      expect.stringContaining("cannot write the pool's CDI spec"),
    ]);
  });

  test("a pool whose spec can't be written may not be offered; it may once the spec is written", () => {
    const cdi = cdiOf();
    mkdirSync(`${root}/var/run`, { recursive: true });
    writeFileSync(`${root}/var/run/cdi`, "");
    expect(cdi.describe(pool)).toBe(false);
    rmSync(`${root}/var/run/cdi`);
    expect(cdi.describe(pool)).toBe(true);
    expect(Object.keys(describedIn())).toEqual([a.id, b.id]);
  });

  test("a device leaves the spec before another pool's names it", () => {
    const cdi = cdiOf();
    cdi.describe(pool);
    const next: Pool = { ...pool, claims: new Map([[b.id, aClaim(b)]]) };
    const other: Pool = {
      spec: aSpec({ prefix: "intel.com", name: "other" }),
      claims: new Map([[a.id, aClaim(a)]]),
      unhealthy: new Map(),
    };
    expect(cdi.withdraw([next, other])).toBe(true);
    expect(Object.keys(describedIn())).toEqual([b.id]);
  });

  test("a spec that was removed is restored", () => {
    const cdi = cdiOf();
    cdi.describe(pool);
    rmSync(specFile());
    cdi.restore([spec]);
    expect(Object.keys(describedIn())).toEqual([a.id, b.id]);
  });
});

test.each([
  ["an unknown id", [["0000:99:00.0"]], "is not in pool"],
  ["no id", [[]], "no device id"],
  ["an id twice", [[a.id, a.id]], "requested twice"],
  ["an id in two containers", [[a.id], [a.id]], "requested twice"],
])("%s is refused as INVALID_ARGUMENT", (_, containers, message) => {
  const refusal = refusalOf(() => handleAllocate(pool, requestOf(...containers), contextOf()));
  expect([refusal.code, refusal.message]).toEqual([status.INVALID_ARGUMENT, expect.stringContaining(message)]);
});

test("a device that has left the node is refused, and leaves no file", () => {
  const folder = `${root}/sys/bus/pci/devices/${a.id}`;
  renameSync(folder, `${folder}-gone`);
  expect(() => handleAllocate(pool, requestOf([a.id]), contextOf())).toThrow("has left the node");
  expect(() => readdirSync(`${root}/var/run/k8s.cni.cncf.io/devinfo/dp`)).toThrow("ENOENT");
});
