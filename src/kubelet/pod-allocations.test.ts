import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { admissionGrace } from "../pools/decide-allocations.ts";
import { ContainerAllocateResponse } from "./api/deviceplugin.ts";
import { PodResourcesListerService } from "./api/podresources.ts";
import { GrpcServer } from "./grpc/server.ts";
import { PodAllocations } from "./pod-allocations.ts";
import { kubeletPaths, type KubeletPaths } from "./kubelet-paths.ts";

let root = "";
let paths: KubeletPaths;
let podAllocations: PodAllocations;

beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/podAllocations-`);
  paths = kubeletPaths(root);
  mkdirSync(paths.devicePlugins);
});
afterAll(() => rmSync(root, { recursive: true }));
/** UIDs of pods that have a cgroup, and ids of devices that are in use. */
let pods: Set<string> | null;
let used: Map<string, string>;
beforeEach(() => {
  pods = new Set();
  used = new Map();
  podAllocations = new PodAllocations(paths, {
    podCgroups: () => pods,
    inUse: (ids) => new Map([...ids].flatMap((id) => (used.has(id) ? [[id, used.get(id) ?? ""] as const] : []))),
  });
});

const checkpoint = (entries: readonly object[]) =>
  writeFileSync(paths.checkpoint, JSON.stringify({ Data: { PodDeviceEntries: entries } }));
const entry = (ids: readonly string[], resource = "a/b") => ({
  PodUID: "uid",
  ContainerName: "main",
  ResourceName: resource,
  DeviceIDs: { "0": ids },
});

test("before the kubelet answered, every device may be allocated", () => {
  expect(podAllocations.mayHold("a/b", "x")).toBe(true);
  expect(podAllocations.mayHoldAny("a/b")).toBe(true);
});

test("what the checkpoint records for a running pod is allocated, and nothing else", async () => {
  checkpoint([entry(["x"])]);
  pods = new Set(["uid"]);
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([["x", "a/b"]]);
  expect(podAllocations.allocations.get("x")).toMatchObject({ pod: "uid", container: "main", evidence: "pod cgroup" });
  expect(podAllocations.mayHold("a/b", "x")).toBe(true);
  expect(podAllocations.mayHold("a/c", "x")).toBe(false);
  expect(podAllocations.mayHoldAny("a/c")).toBe(false);
  pods = new Set();
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([]);
  expect(podAllocations.mayHoldAny("a/b")).toBe(false);
});

test("where no cgroups are visible the devices that the checkpoint records are checked for signs of use", async () => {
  checkpoint([entry(["x", "y"])]);
  pods = null;
  used = new Map([
    ["x", "its VFIO device is open"],
    ["z", "its VFIO device is open"],
  ]);
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([["x", "a/b"]]);
});

test("what was allocated just now counts at once, and though the kubelet does not record it yet", async () => {
  checkpoint([]);
  await podAllocations.read();
  podAllocations.allocated("a/c", ["x"]);
  expect(podAllocations.awaitsPods).toBe(true);
  expect(podAllocations.holds("a/c", "x")).toBe(true);
  expect(podAllocations.mayHoldAny("a/c")).toBe(true);
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([["x", "a/c"]]);
});

test("what was allocated is free when its pod ends, however short it lived, though the checkpoint records it", async () => {
  podAllocations.allocated("a/b", ["x"]);
  checkpoint([entry(["x"])]);
  pods = new Set(["uid"]);
  await podAllocations.read();
  expect(podAllocations.awaitsPods).toBe(false);
  pods = new Set();
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([]);
  expect(podAllocations.mayHoldAny("a/b")).toBe(false);
});

test("what the kubelet recorded of once is free as soon as it takes it back", async () => {
  podAllocations.allocated("a/b", ["x"]);
  checkpoint([entry(["x"])]);
  await podAllocations.read();
  expect([...podAllocations.held.keys()]).toEqual(["x"]);
  checkpoint([]);
  await podAllocations.read();
  expect([...podAllocations.held]).toEqual([]);
});

test("while there is no evidence a guess counts and nothing is known to be free", async () => {
  checkpoint([]);
  await podAllocations.read();
  expect(podAllocations.mayHoldAny("a/b")).toBe(false);
  podAllocations.assume(new Map([["x", "a/b"]]));
  expect(podAllocations.mayHold("a/c", "y")).toBe(true);
  expect([...podAllocations.held]).toEqual([["x", "a/b"]]);
});

test("a checkpoint that can't be read leaves what was known", async () => {
  checkpoint([entry(["x"])]);
  pods = new Set(["uid"]);
  await podAllocations.read();
  writeFileSync(paths.checkpoint, "no JSON");
  expect(podAllocations.read()).rejects.toThrow("not JSON");
  expect([...podAllocations.held]).toEqual([["x", "a/b"]]);
});

test("recent records are those of pods that show no life, in a checkpoint that was written a moment ago", async () => {
  expect(podAllocations.recentRecords).toEqual([]);
  checkpoint([entry(["x"]), { ...entry(["y"]), PodUID: "runs" }]);
  pods = new Set(["runs"]);
  await podAllocations.read();
  expect(podAllocations.recentRecords).toMatchObject([{ id: "x", pod: "uid" }]);
  const before = Date.now() / 1000 - admissionGrace / 1000 - 1;
  utimesSync(paths.checkpoint, before, before);
  expect(podAllocations.recentRecords).toEqual([]);
});

test("the devices of claims of this process's driver are kept apart", async () => {
  const driver = "dra.example.com";
  const device = { cdiDevices: [], driverName: driver, poolName: "n", deviceName: "0000-3b-02-1" };
  const dynamicResources = [{ claimName: "c", claimNamespace: "n", claimResources: [device] }];
  const container = { name: "app", devices: [], cpuIds: [], memory: [], dynamicResources };
  const server = new GrpcServer({ requestBytes: 1 << 20, callsAtOnce: 4, connections: 4, refused: () => {} });
  const pod = { name: "p", namespace: "n", containers: [container], cpuIds: [], memory: [] };
  server.serve(PodResourcesListerService, { list: () => ({ podResources: [pod] }) } as never);
  mkdirSync(dirname(paths.podResources));
  await server.listen(paths.podResources);
  try {
    checkpoint([]);
    await podAllocations.read();
    expect([...podAllocations.held]).toEqual([["0000:3b:02.1", driver]]);
    const own = new PodAllocations(paths, { podCgroups: () => pods, inUse: () => new Map() }, driver);
    await own.read();
    expect([...own.held]).toEqual([]);
    expect([...own.claimed.values()]).toMatchObject([{ id: "0000:3b:02.1", resource: driver, pod: "n/p" }]);
    expect(podAllocations.claimed.size).toBe(0);
    pod.containers = [];
    await podAllocations.read();
    await own.read();
    // The kubelet may not have read all pods yet.
    expect([...own.claimed.keys()]).toEqual(["0000:3b:02.1"]);
  } finally {
    await server.close();
    rmSync(dirname(paths.podResources), { recursive: true });
  }
});

test("cached answers are those of pods that do not run", async () => {
  const answer = Buffer.from(
    ContainerAllocateResponse.encode({
      envs: {},
      mounts: [],
      devices: [{ hostPath: "/dev/vfio/12", containerPath: "/dev/vfio/12", permissions: "rw" }],
      annotations: {},
      cdiDevices: [],
    }).finish(),
  ).toString("base64");
  checkpoint([{ ...entry(["x"]), AllocResp: answer }]);
  await podAllocations.read();
  expect(podAllocations.cachedAnswers).toMatchObject([
    { resource: "a/b", ids: ["x"], pod: "uid", nodes: ["/dev/vfio/12"] },
  ]);
  pods = new Set(["uid"]);
  await podAllocations.read();
  expect(podAllocations.cachedAnswers).toEqual([]);
});
