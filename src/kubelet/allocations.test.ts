import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { PodDevice } from "../pools/decide-allocations.ts";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { heldBy } from "../../test/support/kubelet-view.ts";
import { cachedAnswerIn, devicesIn, podDevicesIn, readCheckpoint, readPodResources, recordsIn } from "./allocations.ts";
import { ContainerAllocateResponse } from "./api/deviceplugin.ts";
import { kubeletPaths } from "./kubelet-paths.ts";

const entryOf = (resource: string, ids: unknown) => ({
  PodUID: "1a2b",
  ContainerName: "app",
  ResourceName: resource,
  DeviceIDs: ids,
  AllocResp: "CgA=",
});
const held = { resource: "intel.com/a", id: "0000:3b:02.1", pod: "1a2b", container: "app" };
const checkpoint = (...entries: unknown[]) =>
  JSON.stringify({ Data: { PodDeviceEntries: entries, RegisteredDevices: { "intel.com/a": ["x"] } }, Checksum: 1 });

const holdingsInCheckpoint = (text: string) => devicesIn(recordsIn(text));

describe("the kubelet's checkpoint", () => {
  test("lists what each pod has, by NUMA node", () => {
    const text = checkpoint(
      entryOf("intel.com/a", { "0": ["0000:3b:02.1", "0000:3b:02.2"], "1": ["0000:af:02.1"] }),
      entryOf("nvidia.com/gpu", { "-1": ["GPU-1"] }),
    );
    expect(Object.fromEntries(heldBy(holdingsInCheckpoint(text)))).toEqual({
      "0000:3b:02.1": "intel.com/a",
      "0000:3b:02.2": "intel.com/a",
      "0000:af:02.1": "intel.com/a",
      "GPU-1": "nvidia.com/gpu",
    });
  });

  test("of kubelets before 1.20 is understood", () => {
    expect(holdingsInCheckpoint(checkpoint(entryOf("intel.com/a", ["0000:3b:02.1"])))).toEqual([held]);
  });

  test.each([
    ["no pods", checkpoint()],
    ["null for no pods", '{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}'],
    ["an entry without devices", checkpoint(entryOf("intel.com/a", null))],
    ["an entry without a resource", checkpoint({ DeviceIDs: { "0": ["x"] } })],
    ["ids that are not strings", checkpoint(entryOf("intel.com/a", { "0": [1, null, {}, ["x", 2].length] }))],
  ])("with %s holds nothing", (_, text) => {
    expect(holdingsInCheckpoint(text)).toEqual([]);
  });

  test.each([
    ["nothing", ""],
    ["half a file", checkpoint(entryOf("intel.com/a", { "0": ["x"] })).slice(0, -20)],
    ["null", "null"],
    ["a text in place of entries", '{"Data":{"PodDeviceEntries":7}}'],
    ["null as an entry", checkpoint(null)],
    ["no JSON", "\0\0\0"],
  ])("that holds %s is refused, not taken for one of nothing", (_, text) => {
    expect(() => holdingsInCheckpoint(text)).toThrow();
  });

  test("of another form is refused, not taken for one of nothing", () => {
    for (const text of ["{}", "[]", "7", '{"Data":{}}']) expect(() => holdingsInCheckpoint(text)).toThrow();
  });

  test("that was cut or changed anywhere either throws or gives texts", () => {
    const text = checkpoint(entryOf("intel.com/a", { "0": ["0000:3b:02.1"] }));
    for (let at = 0; at < text.length; at++) {
      for (const changed of [text.slice(0, at), `${text.slice(0, at)}null${text.slice(at + 1)}`]) {
        let held: PodDevice[];
        try {
          held = holdingsInCheckpoint(changed);
        } catch {
          continue;
        }
        for (const each of held) for (const value of Object.values(each)) expect(value).toBeString();
      }
    }
  });

  test("that holds a resource of another type than text ignores it", () => {
    expect(holdingsInCheckpoint(checkpoint({ ResourceName: 7, DeviceIDs: ["x"] }))).toEqual([]);
    expect(holdingsInCheckpoint(checkpoint({ ResourceName: null, DeviceIDs: ["x"] }))).toEqual([]);
  });
});

test("pod-resources list what each container has", () => {
  const devices = [{ resourceName: "intel.com/a", deviceIds: ["0000:3b:02.1"], topology: undefined }];
  const container = { name: "app", devices, cpuIds: [], memory: [], dynamicResources: [] };
  const pod = { name: "p", namespace: "n", containers: [container], cpuIds: [], memory: [] };
  expect(podDevicesIn({ podResources: [pod] } as never)).toEqual([{ ...held, pod: "n/p" }]);
  expect(podDevicesIn({ podResources: [] })).toEqual([]);
});

test("pod-resources list what each container has by claims, whichever driver prepared them", () => {
  const device = (deviceName: string) => ({ cdiDevices: [], driverName: "dra.example.com", poolName: "n", deviceName });
  const claimResources = ["0000-3b-02-1", "mlx5-core-sf-4", "gpu-0", "0000-3b-02-9", ""].map(device);
  const dynamicResources = [{ claimName: "c", claimNamespace: "n", claimResources }];
  const container = { name: "app", devices: [], cpuIds: [], memory: [], dynamicResources };
  const pod = { name: "p", namespace: "n", containers: [container], cpuIds: [], memory: [] };
  const claimed = { resource: "dra.example.com", pod: "n/p", container: "app", isClaimed: true };
  expect(podDevicesIn({ podResources: [pod] } as never)).toEqual([
    { ...claimed, id: "0000:3b:02.1" },
    { ...claimed, id: "mlx5_core.sf.4" },
  ]);
});

describe("files of the kubelet", () => {
  let root = "";
  beforeAll(() => {
    root = mkdtempSync(`${tmpdir()}/sriovdp-held-`);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test("where pod-resources is not mounted nothing is called", async () => {
    expect(await readPodResources(kubeletPaths(root))).toBeNull();
  });

  test("a pod-resources socket without a server is an error", async () => {
    const paths = kubeletPaths(root);
    mkdirSync(`${root}/pod-resources`);
    writeFileSync(paths.podResources, "");
    expect(readPodResources(paths, 500)).rejects.toThrow();
  });

  test("a missing checkpoint means that nothing is allocated", () => {
    expect(readCheckpoint(kubeletPaths(root).checkpoint)).toEqual([]);
  });

  test("the checkpoint is read, and one that can't be read is an error", () => {
    const paths = kubeletPaths(root);
    mkdirSync(paths.devicePlugins);
    writeFileSync(paths.checkpoint, checkpoint(entryOf("intel.com/a", { "0": ["0000:3b:02.1"] })));
    expect(devicesIn(readCheckpoint(paths.checkpoint))).toEqual([held]);
    writeFileSync(paths.checkpoint, "{");
    expect(() => readCheckpoint(paths.checkpoint)).toThrow();
    expect(() => readCheckpoint(paths.devicePlugins)).toThrow("EISDIR");
  });
});

describe("the answer that the kubelet cached", () => {
  const record = (answer: string) => ({ resource: "a/b", ids: ["x"], pod: "uid", container: "app", answer });
  const encoded = (answer: Partial<ContainerAllocateResponse>) =>
    Buffer.from(
      ContainerAllocateResponse.encode({
        envs: {},
        mounts: [],
        devices: [],
        annotations: {},
        cdiDevices: [],
        ...answer,
      }).finish(),
    ).toString("base64");
  const nodes = ["/dev/vfio/vfio", "/dev/vfio/12"];
  const whole = encoded({
    envs: { PCIDEVICE_A_B: "x" },
    devices: nodes.map((path) => ({ hostPath: path, containerPath: path, permissions: "rw" })),
  });

  test("names the device nodes", () => {
    const answer = { resource: "a/b", ids: ["x"], pod: "uid", nodes, namesCdiDevices: false };
    expect(cachedAnswerIn(record(whole))).toEqual(answer);
  });

  test.each([
    ["as CRI devices", { cdiDevices: [{ name: "a/net-pci=x" }] }],
    ["as an annotation", { annotations: { "cdi.k8s.io/a": "a/net-pci=x" } }],
  ])("says that it names CDI devices (%s)", (_, answer) => {
    expect(cachedAnswerIn(record(encoded(answer)))).toMatchObject({ nodes: [], namesCdiDevices: true });
  });

  test("is null where there is none, and whatever was cut or changed gives texts or null", () => {
    expect(cachedAnswerIn(record(""))).toBeNull();
    const bytes = Buffer.from(whole, "base64");
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = 0xff;
      for (const each of [bytes.subarray(0, at), changed]) {
        for (const path of cachedAnswerIn(record(each.toString("base64")))?.nodes ?? []) expect(path).toBeString();
      }
    }
    expect(cachedAnswerIn(record("no base64 §"))?.nodes ?? []).toEqual([]);
  });
});
