import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createLog } from "../process/log.ts";
import { type Journal, newJournal } from "../telemetry/journal.ts";
import { ConfigError, RunningConfig } from "./running-config.ts";

let folder: string;
let log: ReturnType<typeof createLog>;
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/config-`);
  log = createLog({ format: "text", verbosity: 0, folder: `${folder}/log`, stderr: "errors" });
});
afterAll(async () => {
  await log.finish();
  rmSync(folder, { recursive: true });
});

let journal: Journal;
let served: Set<string>;
let config: RunningConfig;
beforeEach(() => {
  journal = newJournal();
  served = new Set();
  config = new RunningConfig(
    {
      file: `${folder}/config.json`,
      resourcePrefix: "intel.com",
      useCdi: false,
      socketNameLimit: 73,
      linkHealth: true,
    },
    journal,
    log,
  );
});

const write = (text: string) => writeFileSync(`${folder}/config.json`, text);
const entry = (name: string, selectors: unknown = [{ vendors: ["8086"] }]) => ({ resourceName: name, selectors });
const file = (...entries: readonly object[]) => JSON.stringify({ resourceList: entries });
const names = () => config.specs.map(({ name }) => name);

test("a file that is rejected at the start ends the start with all its problems", () => {
  write(file(entry("a b"), entry("c", 7)));
  expect(() => config.loadFirst()).toThrow(ConfigError);
  expect(config.specs).toEqual([]);
});

describe("while the plugin runs", () => {
  beforeEach(() => {
    write(file(entry("a")));
    config.loadFirst();
  });

  test("a file that did not change is not another config", () => {
    expect(config.load(served)).toBeFalse();
    expect(journal.config).toMatchObject({ generation: 1, failures: 0 });
  });

  test("a changed file is, once", () => {
    write(file(entry("a"), entry("b")));
    expect(config.load(served)).toBeTrue();
    expect(config.load(served)).toBeFalse();
    expect(names()).toEqual(["a", "b"]);
  });

  test("a reload reads it again though it did not change", () => {
    config.forget();
    expect(config.load(served)).toBeTrue();
    expect(journal.config.generation).toBe(2);
  });

  test.each([
    ["no JSON", "{"],
    ["empty", "null"],
  ])("a file that is %s leaves the config as it is", (_, text) => {
    write(text);
    expect(config.load(served)).toBeFalse();
    expect(names()).toEqual(["a"]);
    expect(journal.config).toMatchObject({ failures: 1, last: { success: false } });
  });

  test("an entry that is skipped rejects the file if its pool is served, and is left out otherwise", () => {
    write(file(entry("a", 7), entry("b")));
    served.add("intel.com/a");
    expect(config.load(served)).toBeFalse();
    served.clear();
    config.forget();
    expect(config.load(served)).toBeTrue();
    expect(names()).toEqual(["b"]);
  });

  test("a file that can't be read is loaded as soon as it can, also when it says what it said", () => {
    rmSync(`${folder}/config.json`);
    expect(config.load(served)).toBeFalse();
    write(file(entry("a")));
    expect(config.load(served)).toBeTrue();
    expect(names()).toEqual(["a"]);
  });
});
