import { describe, expect, test } from "bun:test";
import {
  aClaim,
  aCharDevice,
  aDevice,
  aPf,
  aSpec,
  aSubFunction,
  pciAddress,
  someFacts,
} from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import type { AllocationFacts } from "../host/allocation-facts.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import type { SelectorObject } from "../pools/selectors.ts";
import { allocate as allocatePrepared, type CdiContext, prepareDevices, refuseIds } from "./allocate.ts";
import { stableJson } from "./environment.ts";

const device = aDevice({ id: "0000:1a:03.4" });
const other = aDevice({ id: "0000:1a:03.5" });

/** One pool whose devices were all claimed by one selector object. */
const poolOf = (spec: PoolSpec, selectorObject: SelectorObject, ...devices: Device[]): Pool => ({
  spec,
  claims: new Map(devices.map((each) => [each.id, aClaim(each, selectorObject)])),
  unhealthy: new Map(),
});

const allocate = (
  pool: Pool,
  ids: readonly string[],
  facts: ReadonlyMap<string, AllocationFacts>,
  cdi: CdiContext | null,
) => allocatePrepared(pool.spec, ids, prepareDevices(pool, facts), cdi);

interface Case {
  readonly selectorObject?: SelectorObject;
  readonly spec?: Partial<PoolSpec>;
  readonly device?: Device;
  readonly facts?: Partial<AllocationFacts>;
}

function given({ selectorObject = {}, spec = {}, device: one = device, facts = {} }: Case) {
  const pool = poolOf(aSpec({ prefix: "intel.com", name: "net", ...spec }), selectorObject, one);
  const { answer } = allocate(pool, [one.id], new Map([[one.id, someFacts(facts)]]), null);
  const info = JSON.parse(answer.envs["PCIDEVICE_INTEL_COM_NET_INFO"] ?? "null") as Record<string, object>;
  const { generic, ...providers } = info[one.id] as Record<string, object>;
  expect(generic).toEqual({ deviceID: one.id });
  return {
    providers,
    nodes: answer.devices.map(({ hostPath, containerPath }) =>
      hostPath === containerPath ? hostPath : `${hostPath} as ${containerPath}`,
    ),
  };
}

const vfio = (group: string | null, noIommu = false) => ({
  group,
  noIommu,
  node: group === null ? null : aCharDevice(`/dev/vfio/${noIommu ? "noiommu-" : ""}${group}`),
  cdev: null,
});
const rdma = {
  names: ["mlx5_2", "mlx5_3"],
  nodes: [
    { kind: "issm", path: "/dev/infiniband/issm2" },
    { kind: "umad", path: "/dev/infiniband/umad2" },
    { kind: "uverbs", path: "/dev/infiniband/uverbs2" },
    { kind: "rdma_cm", path: "/dev/infiniband/rdma_cm" },
    { kind: "uverbs", path: "/dev/infiniband/uverbs3" },
    { kind: "rdma_cm", path: "/dev/infiniband/rdma_cm" },
  ],
} as const;
const capable = aDevice({ id: device.id, rdma: { names: rdma.names } });
const vfioKeys = {
  mount: "/dev/vfio/vfio",
  "vfio-mount": "/dev/vfio/vfio",
  "dev-mount": "/dev/vfio/206",
  "vfio-dev-mount": "/dev/vfio/206",
};

describe("what a container is given", () => {
  test.each<[string, Case, string[], Record<string, object>]>([
    ["a device with a netdev", {}, [], {}],
    ["a VFIO device", { facts: { vfio: vfio("206") } }, ["/dev/vfio/vfio", "/dev/vfio/206"], { vfio: vfioKeys }],
    [
      "a VFIO device in no-IOMMU mode",
      { facts: { vfio: vfio("206", true) } },
      ["/dev/vfio/vfio", "/dev/vfio/noiommu-206 as /dev/vfio/206"],
      { vfio: vfioKeys },
    ],
    [
      "a VFIO device without a group",
      { facts: { vfio: vfio(null) } },
      ["/dev/vfio/vfio"],
      { vfio: { mount: "/dev/vfio/vfio", "vfio-mount": "/dev/vfio/vfio" } },
    ],
    [
      "a VFIO device with its own node, where the pool enables it",
      {
        spec: { iommufd: true },
        facts: { iommufd: true, vfio: { ...vfio("206"), cdev: aCharDevice("/dev/vfio/devices/vfio3") } },
      },
      ["/dev/vfio/vfio", "/dev/vfio/206", "/dev/iommu", "/dev/vfio/devices/vfio3"],
      { vfio: vfioKeys, iommufd: { mount: "/dev/iommu", "dev-mount": "/dev/vfio/devices/vfio3" } },
    ],
    [
      "a VFIO device with its own node, where the pool does not ask for it",
      { facts: { iommufd: true, vfio: { ...vfio("206"), cdev: aCharDevice("/dev/vfio/devices/vfio3") } } },
      ["/dev/vfio/vfio", "/dev/vfio/206"],
      { vfio: vfioKeys },
    ],
    [
      "a UIO device at its first Allocate",
      { facts: { uio: aCharDevice("/dev/uio7") } },
      ["/dev/uio7"],
      { uio: { mount: "/dev/uio7" } },
    ],
    [
      "an RDMA device with two RDMA devices, of which the last counts per key",
      { selectorObject: { isRdma: true }, device: capable, facts: { rdma } },
      [
        "/dev/infiniband/issm2",
        "/dev/infiniband/umad2",
        "/dev/infiniband/uverbs2",
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/uverbs3",
      ],
      {
        rdma: {
          issm: "/dev/infiniband/issm2",
          umad: "/dev/infiniband/umad2",
          uverbs: "/dev/infiniband/uverbs3",
          rdma_cm: "/dev/infiniband/rdma_cm",
          rdma_dev: "mlx5_2",
        },
      },
    ],
    [
      "an RDMA device that is in a pod",
      { selectorObject: { isRdma: true }, device: aDevice({ id: device.id, rdma: { names: [] } }) },
      [],
      { rdma: {} },
    ],
    ["an RDMA device of a pool that does not ask for RDMA", { device: capable, facts: { rdma } }, [], {}],
    ["a device that is not RDMA capable", { selectorObject: { isRdma: true }, facts: { rdma } }, [], {}],
    [
      "a vhost vDPA device at its first Allocate",
      {
        selectorObject: { vdpaType: "vhost" },
        facts: { vdpa: { name: "vdpa0", type: "vhost", node: aCharDevice("/dev/vhost-vdpa-0") } },
      },
      ["/dev/vhost-vdpa-0"],
      { vdpa: { mount: "/dev/vhost-vdpa-0" } },
    ],
    [
      "a virtio vDPA device",
      { selectorObject: { vdpaType: "virtio" }, facts: { vdpa: { name: "vdpa0", type: "virtio", node: null } } },
      [],
      { vdpa: {} },
    ],
    [
      "a vDPA device of a pool that does not ask for vDPA",
      {
        selectorObject: { vdpaType: "" },
        facts: { vdpa: { name: "vdpa0", type: "vhost", node: aCharDevice("/dev/vhost-vdpa-0") } },
      },
      [],
      {},
    ],
    [
      "vhost-net where the node has it",
      { selectorObject: { needVhostNet: true }, facts: { vhostNet: true } },
      ["/dev/vhost-net", "/dev/net/tun"],
      { vhost: { "net-mount": "/dev/vhost-net", "tun-mount": "/dev/net/tun" } },
    ],
    ["vhost-net on a node without it", { selectorObject: { needVhostNet: true } }, [], {}],
    ["vhost-net where the pool does not ask for it", { facts: { vhostNet: true } }, [], {}],
    [
      "additionalInfo, the device's own over what all have",
      { spec: { additionalInfo: { "*": { a: "1", b: "2" }, [device.id]: { b: "3" }, [other.id]: { c: "4" } } } },
      [],
      { extra: { a: "1", b: "3" }, extraInfo: { a: "1", b: "3" } },
    ],
    [
      "additionalInfo that is of other devices",
      { spec: { additionalInfo: { [other.id]: { c: "4" } } } },
      [],
      { extra: {}, extraInfo: {} },
    ],
    [
      "additionalInfo of a sub-function by its own name, over its parent's",
      {
        device: aSubFunction({ id: "mlx5_core.sf.4", pci: pciAddress("0000:08:00.0") }),
        spec: {
          deviceType: "auxNetDevice",
          additionalInfo: { "mlx5_core.sf.4": { a: "own" }, "0000:08:00.0": { a: "parent", b: "parent" } },
        },
      },
      [],
      { extra: { a: "own", b: "parent" }, extraInfo: { a: "own", b: "parent" } },
    ],
  ])("%s", (_, one, nodes, providers) => {
    expect(given(one)).toEqual({ nodes, providers });
  });

  test("nodes are in the order of the request, then of the providers, each once", () => {
    const pool = poolOf(aSpec(), { needVhostNet: true, isRdma: true }, other, { ...capable, id: device.id });
    const facts = new Map([
      [device.id, someFacts({ vfio: vfio("2"), vhostNet: true, rdma })],
      [other.id, someFacts({ vfio: vfio("1"), vhostNet: true })],
    ]);
    const { answer } = allocate(pool, [device.id, other.id], facts, null);
    expect(answer.devices.map(({ hostPath }) => hostPath)).toEqual([
      "/dev/vfio/vfio",
      "/dev/vfio/2",
      "/dev/infiniband/issm2",
      "/dev/infiniband/umad2",
      "/dev/infiniband/uverbs2",
      "/dev/infiniband/rdma_cm",
      "/dev/infiniband/uverbs3",
      "/dev/vhost-net",
      "/dev/net/tun",
      "/dev/vfio/1",
    ]);
    expect(new Set(answer.devices.map(({ permissions }) => permissions))).toEqual(new Set(["rw"]));
    expect({ mounts: answer.mounts, annotations: answer.annotations, cdi: answer.cdiDevices }).toEqual({
      mounts: [],
      annotations: {},
      cdi: [],
    });
  });

  test.each([
    ["cdi-devices", { cdiDevices: [{ name: "intel.com/net-pci=0000:1a:03.4" }], annotations: {} }],
    [
      "annotations",
      { cdiDevices: [], annotations: { "cdi.k8s.io/intel.com_net-pci_net": "intel.com/net-pci=0000:1a:03.4" } },
    ],
  ] as const)("by CDI (%s) devices are named to the runtime, those without nodes are not", (mode, named) => {
    const pool = poolOf(aSpec({ prefix: "intel.com", name: "net" }), {}, device, other);
    const facts = new Map([
      [device.id, someFacts({ vfio: vfio("206") })],
      [other.id, someFacts()],
    ]);
    const ids = [other.id, device.id];
    const nodes = [{ hostPath: "/dev/vfio/206", containerPath: "/dev/vfio/206" }];
    const { answer } = allocate(pool, ids, facts, { mode, devices: new Map([[device.id, nodes]]) });
    expect({ cdiDevices: answer.cdiDevices, annotations: answer.annotations }).toEqual(named as never);
    expect(answer.devices).toEqual([]);
    expect(answer.envs).toEqual(allocate(pool, ids, facts, null).answer.envs);
  });

  test("an annotation lists all devices, and is not there when none has a node", () => {
    const pool = poolOf(aSpec({ prefix: "intel.com", name: "net" }), {}, device, other);
    const facts = new Map([device, other].map(({ id }) => [id, someFacts()]));
    const annotationsOf = (...described: string[]) => {
      const devices = new Map(described.map((id) => [id, [{ hostPath: "/dev/uio0", containerPath: "/dev/uio0" }]]));
      return allocate(pool, [other.id, device.id], facts, { mode: "annotations", devices }).answer.annotations;
    };
    expect(Object.values(annotationsOf(device.id, other.id))).toEqual([
      "intel.com/net-pci=0000:1a:03.5,intel.com/net-pci=0000:1a:03.4",
    ]);
    expect(annotationsOf()).toEqual({});
  });

  test("an id that was not read is an error of the program, never a device without nodes", () => {
    expect(() => allocate(poolOf(aSpec(), {}, device), [device.id], new Map(), null)).toThrow("was not read");
  });
});

describe("the environment", () => {
  test("is, byte for byte, what programs parse in the wild", () => {
    const spec = aSpec({ prefix: "openshift.io", name: "dpdk-nic_1" });
    const pool = poolOf(spec, {}, device, other);
    const facts = new Map([
      [other.id, someFacts()],
      [device.id, someFacts({ vfio: vfio("206") })],
    ]);
    expect(allocate(pool, [other.id, device.id], facts, null).answer.envs).toEqual({
      "PCIDEVICE_OPENSHIFT_IO_DPDK-NIC_1": "0000:1a:03.5,0000:1a:03.4",
      "PCIDEVICE_OPENSHIFT_IO_DPDK-NIC_1_INFO":
        '{"0000:1a:03.4":{"generic":{"deviceID":"0000:1a:03.4"},"vfio":{"dev-mount":"/dev/vfio/206",' +
        '"mount":"/dev/vfio/vfio","vfio-dev-mount":"/dev/vfio/206","vfio-mount":"/dev/vfio/vfio"}},' +
        '"0000:1a:03.5":{"generic":{"deviceID":"0000:1a:03.5"}}}',
    });
  });

  test.each([
    ["keys are sorted at every level", { b: { z: "1", a: "2" }, a: "3" }, '{"a":"3","b":{"a":"2","z":"1"}}'],
    ["upper case goes before lower", { a: "", B: "", "-": "", "*": "" }, '{"*":"","-":"","B":"","a":""}'],
    ["numbers are sorted as text", { "10": "", "9": "", "1": "" }, '{"1":"","10":"","9":""}'],
    ["keys are sorted by their UTF-8 bytes", { "\u{1F600}": "", "\uFF21": "" }, '{"\uFF21":"","\u{1F600}":""}'],
    ["an empty provider is an empty object", { extra: {} }, '{"extra":{}}'],
    ["markup is escaped", { "<&>": "<&>" }, '{"\\u003c\\u0026\\u003e":"\\u003c\\u0026\\u003e"}'],
    ["line separators are escaped", { a: "\u2028\u2029" }, '{"a":"\\u2028\\u2029"}'],
    ["everything else beyond ASCII stays as it is", { a: "größe 東京 😀" }, '{"a":"größe 東京 😀"}'],
    ["quotes and control characters are escaped", { a: '"\\\n\t\u0001' }, '{"a":"\\"\\\\\\n\\t\\u0001"}'],
    ["half a character becomes the replacement character", { a: "\uD800x" }, '{"a":"\uFFFDx"}'],
  ] as [string, Parameters<typeof stableJson>[0], string][])("%s", (_, value, json) => {
    expect(stableJson(value)).toBe(json);
  });
});

describe("ids are refused", () => {
  const pool = poolOf(aSpec({ prefix: "intel.com", name: "net" }), {}, device, other);

  test("none of those that are in the pool", () => {
    expect(refuseIds(pool, [other.id, device.id])).toBeNull();
  });

  test.each([
    [[], "no device id was requested of intel.com/net"],
    [["0000:00:00.0"], 'device "0000:00:00.0" is not in pool intel.com/net'],
    [[device.id, "../../etc"], 'device "../../etc" is not in pool intel.com/net'],
    [[device.id, device.id], 'device "0000:1a:03.4" was requested twice of intel.com/net'],
    [["x\n".repeat(500)], "is not in pool"],
  ])("%j", (ids, why) => {
    const refusal = refuseIds(pool, ids);
    expect(refusal).toContain(why);
    expect(refusal?.length).toBeLessThan(300);
    expect(refusal).not.toContain("\n");
  });
});

test("device-info files come with the answer, in the order of the request", () => {
  const pool = poolOf(aSpec({ prefix: "intel.com", name: "net" }), {}, device, other);
  const facts = new Map([device, other].map(({ id }) => [id, someFacts()]));
  const { files } = allocate(pool, [other.id, device.id], facts, null);
  expect(files.map(({ name }) => name)).toEqual([
    "intel.com-net-0000:1a:03.5-device.json",
    "intel.com-net-0000:1a:03.4-device.json",
  ]);
  const accelerators = poolOf(aSpec({ deviceType: "accelerator" }), {}, aPf({ id: device.id }));
  expect(allocate(accelerators, [device.id], facts, null).files).toEqual([]);
});
