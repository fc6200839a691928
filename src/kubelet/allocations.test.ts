import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { heldIn, heldInCheckpoint, readCheckpoint, readHeld } from "./allocations.ts";
import { kubeletPaths } from "./paths.ts";

const entryOf = (resource: string, ids: unknown) => ({
  PodUID: "1a2b",
  ContainerName: "app",
  ResourceName: resource,
  DeviceIDs: ids,
  AllocResp: "CgA=",
});
const checkpoint = (...entries: unknown[]) =>
  JSON.stringify({ Data: { PodDeviceEntries: entries, RegisteredDevices: { "intel.com/a": ["x"] } }, Checksum: 1 });

describe("the kubelet's checkpoint", () => {
  test("tells what each pod holds, by NUMA node", () => {
    const text = checkpoint(
      entryOf("intel.com/a", { "0": ["0000:3b:02.1", "0000:3b:02.2"], "1": ["0000:af:02.1"] }),
      entryOf("nvidia.com/gpu", { "-1": ["GPU-1"] }),
    );
    expect(Object.fromEntries(heldInCheckpoint(text))).toEqual({
      "0000:3b:02.1": "intel.com/a",
      "0000:3b:02.2": "intel.com/a",
      "0000:af:02.1": "intel.com/a",
      "GPU-1": "nvidia.com/gpu",
    });
  });

  test("of kubelets before 1.20 is understood", () => {
    expect([...heldInCheckpoint(checkpoint(entryOf("intel.com/a", ["0000:3b:02.1"])))]).toEqual([
      ["0000:3b:02.1", "intel.com/a"],
    ]);
  });

  test.each([
    ["no pods", checkpoint()],
    ["null for no pods", '{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}'],
    ["an entry without devices", checkpoint(entryOf("intel.com/a", null))],
    ["an entry without a resource", checkpoint({ DeviceIDs: { "0": ["x"] } })],
    ["ids that are no texts", checkpoint(entryOf("intel.com/a", { "0": [1, null, {}, ["x", 2].length] }))],
  ])("with %s holds nothing", (_, text) => {
    expect(heldInCheckpoint(text).size).toBe(0);
  });

  test.each([
    ["nothing", ""],
    ["half a file", checkpoint(entryOf("intel.com/a", { "0": ["x"] })).slice(0, -20)],
    ["null", "null"],
    ["a text in place of entries", '{"Data":{"PodDeviceEntries":7}}'],
    ["null as an entry", checkpoint(null)],
    ["no JSON", "\0\0\0"],
  ])("that holds %s is refused, not taken for one of nothing", (_, text) => {
    expect(() => heldInCheckpoint(text)).toThrow();
  });

  test("of another form is refused, not taken for one of nothing", () => {
    for (const text of ["{}", "[]", "7", '{"Data":{}}']) expect(() => heldInCheckpoint(text)).toThrow();
  });

  test("that was cut or changed anywhere either throws or gives texts", () => {
    const text = checkpoint(entryOf("intel.com/a", { "0": ["0000:3b:02.1"] }));
    for (let at = 0; at < text.length; at++) {
      for (const changed of [text.slice(0, at), `${text.slice(0, at)}null${text.slice(at + 1)}`]) {
        let held: Map<string, string>;
        try {
          held = heldInCheckpoint(changed);
        } catch {
          continue;
        }
        for (const [id, resource] of held) expect([typeof id, typeof resource]).toEqual(["string", "string"]);
      }
    }
  });

  test("that holds a resource of another type than text ignores it", () => {
    expect(heldInCheckpoint(checkpoint({ ResourceName: 7, DeviceIDs: ["x"] })).size).toBe(0);
    expect(heldInCheckpoint(checkpoint({ ResourceName: null, DeviceIDs: ["x"] })).size).toBe(0);
  });
});

test("pod-resources tell what each container holds", () => {
  const devices = [{ resourceName: "intel.com/a", deviceIds: ["0000:3b:02.1"], topology: undefined }];
  const container = { name: "app", devices, cpuIds: [], memory: [], dynamicResources: [] };
  const pod = { name: "p", namespace: "n", containers: [container], cpuIds: [], memory: [] };
  expect([...heldIn({ podResources: [pod] } as never)]).toEqual([["0000:3b:02.1", "intel.com/a"]]);
  expect(heldIn({ podResources: [] }).size).toBe(0);
});

describe("without a pod-resources socket", () => {
  let root = "";
  beforeAll(() => {
    root = mkdtempSync(`${tmpdir()}/sriovdp-held-`);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  test("a missing checkpoint means that nothing is allocated", async () => {
    expect((await readHeld(kubeletPaths(root))).size).toBe(0);
  });

  test("the checkpoint is read, and one that can't be read is an error", async () => {
    const paths = kubeletPaths(root);
    mkdirSync(paths.devicePlugins);
    writeFileSync(paths.checkpoint, checkpoint(entryOf("intel.com/a", { "0": ["0000:3b:02.1"] })));
    expect([...(await readHeld(paths))]).toEqual([["0000:3b:02.1", "intel.com/a"]]);
    writeFileSync(paths.checkpoint, "{");
    expect(readHeld(paths)).rejects.toThrow();
    expect(() => readCheckpoint(paths.devicePlugins)).toThrow("EISDIR");
  });
});
