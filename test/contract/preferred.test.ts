// Which devices does the kubelet take when it may choose? With "preferredAllocation" in an entry, those that the plugin says.

import { status } from "@grpc/grpc-js";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { RegisterRequest } from "../../src/kubelet/api/deviceplugin.ts";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import type { TestNode } from "../support/plugin.ts";
import { modes, running, touches } from "./live.ts";

setDefaultTimeout(30_000);

const net = "intel.com/net";
const other = "intel.com/other";

/** Two PFs with 4 VFs each for "net", one with 2 for "other". */
const plan = {
  pfs: [
    { nic: "e810", name: "ens1f0", vfs: [{ count: 4 }] },
    { nic: "e810", name: "ens2f0", vfs: [{ count: 4 }] },
    { nic: "e810", name: "ens3f0", vfs: [{ count: 2 }] },
  ],
} as const;

const configOf = (preferredAllocation?: "packed" | "spread") => ({
  resourceList: [
    { resourceName: "net", selectors: { pfNames: ["ens1f0", "ens2f0"] }, preferredAllocation },
    { resourceName: "other", selectors: {} },
  ],
});

const start = (preferredAllocation?: "packed" | "spread", mode: RegistrationMode = "watcher") =>
  running({ node: plan, config: configOf(preferredAllocation), resources: [net, other], mode });

/** Admits pods with one device each; returns the PFs of their devices. */
async function pfsOfPods({ kubelet }: TestNode, count: number): Promise<string> {
  for (let pod = 0; pod < count; pod++) await kubelet.allocate(net, 1);
  return kubelet.allocations
    .slice(-count)
    .map(({ ids: [id = ""] }) => (id.startsWith("0000:3b") ? "1" : "2"))
    .join("");
}

const optionsOf = ({ kubelet }: TestNode, resource: string) =>
  kubelet.resource(resource).options?.getPreferredAllocationAvailable;

describe.concurrent.each(modes)("in %s mode", (mode) => {
  test("packed fills one PF after the other, beginning with the one that has the fewest left", async () => {
    await using node = await start("packed", mode);
    expect([optionsOf(node, net), optionsOf(node, other)]).toEqual([true, false]);
    await node.kubelet.allocate(net, [node.kubelet.free(net).at(-1) ?? ""]);
    expect(await pfsOfPods(node, 7)).toBe("2221111");
  });

  test("spread takes from the PF that has the most left", async () => {
    await using node = await start("spread", mode);
    expect(await pfsOfPods(node, 8)).toBe("12121212");
  });

  test("turning it on or off registers the pool again, since the kubelet reads it only then; others are left alone", async () => {
    await using node = await start(undefined, mode);
    const before = touches(node, other);
    expect(optionsOf(node, net)).toBe(false);
    for (const [preference, isOffered, isAnew] of [
      ["spread", true, true],
      ["packed", true, false],
      [undefined, false, true],
    ] as const) {
      const from = node.plugin.lines.length;
      node.configure(configOf(preference));
      await node.plugin.waitForLine(/ scanned the node stale=\S*config/, from);
      await node.kubelet.waitForAllocatable(net, 8);
      await node.kubelet.waitFor(() => optionsOf(node, net) === isOffered, "the options of now are known");
      expect(node.plugin.lines.slice(from).some((line) => line.includes("re-registering the pool"))).toBe(isAnew);
    }
    expect(touches(node, other)).toEqual(before);
  });
});

test("a kubelet that is called by Register gets it in the call, too", async () => {
  await using node = await start("packed", "legacy");
  const announced = (resource: string) => (node.kubelet.resource(resource).announced as RegisterRequest).options;
  expect(announced(net)).toEqual({ preStartRequired: false, getPreferredAllocationAvailable: true });
  expect(announced(other)).toEqual({ preStartRequired: false, getPreferredAllocationAvailable: false });
});

test("what can't be answered is refused, what can is answered, and nothing is harmed", async () => {
  await using node = await start("packed");
  const ids = [...node.kubelet.resource(net).devices.keys()];
  const ask = (availableDeviceIDs: string[], allocationSize: number, mustIncludeDeviceIDs: string[] = []) =>
    node.kubelet.callPreferred(net, [{ availableDeviceIDs, mustIncludeDeviceIDs, allocationSize }]).then(
      ({ containerResponses }) => containerResponses.map(({ deviceIDs }) => deviceIDs),
      ({ code, details }: { code: number; details: string }) => ({ code, details }),
    );
  const refusal = (details: string) => ({
    code: status.INVALID_ARGUMENT,
    details: `GetPreferredAllocation of ${net}: ${details}`,
  });
  expect(await ask(ids, -1)).toEqual(refusal("-1 devices can't be given"));
  expect(await ask(ids, 9)).toEqual(refusal("9 devices requested, 8 available"));
  expect(await ask(["a"], 1, ["b"])).toEqual(refusal('device "b" must be included and is not available'));
  expect(await ask(["a", "b"], 1, ["a", "b"])).toEqual(refusal("2 devices must be included in 1"));
  expect(await ask(["../../etc/passwd", "", ...ids], 2)).toEqual([ids.slice(0, 2)]);
  expect(await ask(["nobody"], 1)).toEqual([[]]);
  expect(await ask([], 0)).toEqual([[]]);
  expect(await node.kubelet.callPreferred(net, [])).toEqual({ containerResponses: [] });
  expect(await node.kubelet.callPreferred(other, [])).toEqual({ containerResponses: [] });
  expect(await pfsOfPods(node, 1)).toBe("1");
});
