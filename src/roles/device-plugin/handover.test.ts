import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { removeTemporaryFolder, temporaryFolder } from "../../../test/support/plugin.ts";
import { handoverLimit, lossesSeen } from "./handover.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = temporaryFolder();
  path = `${folder}/kubelet_internal_checkpoint`;
});
afterEach(() => removeTemporaryFolder(folder));

const moves = [{ id: "x", from: "intel.com/a", to: "intel.com/b" }];

/** Writes a checkpoint as the kubelet does, by rename. */
function register(registered: Readonly<Record<string, readonly string[]>> | null): void {
  const data = { PodDeviceEntries: null, RegisteredDevices: registered };
  writeFileSync(`${path}.tmp`, JSON.stringify({ Data: data, Checksum: 0 }));
  renameSync(`${path}.tmp`, path);
}

/** How many milliseconds were waited. */
async function waited(isClosed: () => boolean = () => false): Promise<number> {
  const began = performance.now();
  await lossesSeen(path, moves, isClosed);
  return performance.now() - began;
}

const atOnce = handoverLimit / 2;

test.each<[what: string, write: () => void]>([
  ["no checkpoint is there", () => {}],
  ["it can't be read", () => mkdirSync(path)],
  ["it is no JSON", () => writeFileSync(path, "{")],
  ["it is JSON of another form", () => writeFileSync(path, "null")],
  ["it has no registered devices", () => register(null)],
  ["it names the device under no pool", () => register({ "intel.com/a": ["y"] })],
  ["it names the device under the gaining pool", () => register({ "intel.com/b": ["x"] })],
])("nothing is waited for when %s", async (_, write) => {
  write();
  expect(await waited()).toBeLessThan(atOnce);
});

test("the loss is waited for until the checkpoint shows it", async () => {
  register({ "intel.com/a": ["x"] });
  let isSeen = false;
  const waiting = lossesSeen(path, moves, () => false).then(() => (isSeen = true));
  await Bun.sleep(50);
  expect(isSeen).toBe(false);
  register({ "intel.com/a": [] });
  await waiting;
  expect(isSeen).toBe(true);
});

test("a kubelet that does not write is waited for a second, and no longer", async () => {
  register({ "intel.com/a": ["x"] });
  const milliseconds = await waited();
  expect(milliseconds).toBeGreaterThanOrEqual(handoverLimit);
  expect(milliseconds).toBeLessThan(2 * handoverLimit);
});

test("a plugin that ends waits for nothing", async () => {
  register({ "intel.com/a": ["x"] });
  expect(await waited(() => true)).toBeLessThan(atOnce);
});
