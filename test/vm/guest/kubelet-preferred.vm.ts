// boot: disk=node memory=3072 limit=400
// How the genuine kubelet uses preferred allocation: it calls the plugin, and takes the answer.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import {
  container,
  freshNode,
  type Kubelet,
  pod,
  putPod,
  removePods,
  startKubelet,
  stay,
  waitForPhase,
} from "./node.ts";
import { allocatedDevices, waitForAllocatable } from "./kubelet-devices.ts";
import { startPluginIn, writeConfig } from "./plugin.ts";
import { createVfs, loadModules, pf0, pf1, type Program } from "./support.ts";

let kubelet: Kubelet;
let plugin: Program;

beforeAll(async () => {
  await freshNode();
  await loadModules("igbvf");
  kubelet = await startKubelet();
});

afterEach(() => removePods());

afterAll(async () => {
  await kubelet?.stop();
});

describe.each(["watcher", "legacy"] as const)("in %s mode", (mode) => {
  const packed: string[] = [];
  const spread: string[] = [];

  beforeAll(async () => {
    for (const pf of [pf0, pf1]) {
      const vfs = await createVfs(pf, 6);
      packed.push(...vfs.slice(0, 3));
      spread.push(...vfs.slice(3));
    }
    writeConfig(
      { resourceName: "packed", selectors: [{ pfNames: ["pf0#0-2", "pf1#0-2"] }], preferredAllocation: "packed" },
      { resourceName: "spread", selectors: [{ pfNames: ["pf0#3-5", "pf1#3-5"] }], preferredAllocation: "spread" },
    );
    plugin = startPluginIn(mode);
    await waitForAllocatable({ "test.io/packed": packed, "test.io/spread": spread });
  });

  afterAll(async () => {
    await plugin?.stop();
  });

  const pfOf = (vf: string) => (vf.slice(0, 7) === pf0.slice(0, 7) ? 0 : 1);

  /** Starts pods with this many devices each, one after the other; returns the PFs of each one's devices. */
  async function pfsOfPods(resource: string, ...counts: readonly number[]): Promise<string> {
    const found: string[] = [];
    for (const [index, count] of counts.entries()) {
      const name = `${resource}-${index}`;
      putPod(pod(name, [container(stay, { [`test.io/${resource}`]: count })]));
      await waitForPhase(name, "Running");
      const devices = (await allocatedDevices(name))["main"]?.[`test.io/${resource}`] ?? [];
      expect(devices).toHaveLength(count);
      found.push(devices.map(pfOf).toSorted().join(""));
    }
    return found.join(" ");
  }

  test("the kubelet fills one PF before the other, where the entry says packed", async () => {
    expect(await pfsOfPods("packed", 1, 1, 2, 1)).toBe("0 0 11 0");
  });

  test("the kubelet takes from the PF that has the most left, where the entry says spread", async () => {
    expect(await pfsOfPods("spread", 1, 1, 1, 2)).toBe("0 1 0 11");
  });
});
