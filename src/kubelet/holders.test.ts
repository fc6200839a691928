import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { Holders } from "./holders.ts";
import { kubeletPaths, type KubeletPaths } from "./paths.ts";

let root = "";
let paths: KubeletPaths;
let holders: Holders;

beforeAll(() => {
  root = mkdtempSync(`${tmpdir()}/holders-`);
  paths = kubeletPaths(root);
  mkdirSync(paths.devicePlugins);
});
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  holders = new Holders(paths);
});

const checkpoint = (entries: readonly object[]) =>
  writeFileSync(paths.checkpoint, JSON.stringify({ Data: { PodDeviceEntries: entries } }));

test("before the kubelet told anything, a pod may hold every device", () => {
  expect(holders.mayHold("a/b", "x")).toBe(true);
  expect(holders.mayHoldAny("a/b")).toBe(true);
});

test("what the checkpoint tells is held, and nothing else", async () => {
  checkpoint([{ ResourceName: "a/b", DeviceIDs: { "0": ["x"] } }]);
  await holders.read();
  expect([...holders.held]).toEqual([["x", "a/b"]]);
  expect(holders.mayHold("a/b", "x")).toBe(true);
  expect(holders.mayHold("a/c", "x")).toBe(false);
  expect(holders.mayHoldAny("a/c")).toBe(false);
});

test("what was allocated just now is held though the kubelet does not tell it yet, but the kubelet knows better", () => {
  checkpoint([{ ResourceName: "a/b", DeviceIDs: { "0": ["x"] } }]);
  holders.allocated("a/c", ["x", "y"]);
  holders.readNow();
  expect(Object.fromEntries(holders.held)).toEqual({ x: "a/b", y: "a/c" });
});

test("what the kubelet told of once is free as soon as it tells so, however short the pod lived", () => {
  holders.allocated("a/b", ["x"]);
  checkpoint([{ ResourceName: "a/b", DeviceIDs: { "0": ["x"] } }]);
  holders.readNow();
  checkpoint([]);
  holders.readNow();
  expect([...holders.held]).toEqual([]);
});

test("while the kubelet does not tell, a guess counts and nothing is known to be free", () => {
  checkpoint([]);
  holders.readNow();
  expect(holders.mayHoldAny("a/b")).toBe(false);
  holders.assume(new Map([["x", "a/b"]]));
  expect(holders.mayHold("a/c", "y")).toBe(true);
  expect([...holders.held]).toEqual([["x", "a/b"]]);
});

test("a checkpoint that can't be read leaves what was known", () => {
  checkpoint([{ ResourceName: "a/b", DeviceIDs: ["x"] }]);
  holders.readNow();
  writeFileSync(paths.checkpoint, "no JSON");
  expect(() => holders.readNow()).toThrow();
  expect([...holders.held]).toEqual([["x", "a/b"]]);
});
