import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { aClaimReference, ClaimNode } from "../../../test/support/claim-node.ts";
import { aResult, driver, ids } from "../../../test/support/claims.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { DraKubelet } from "../../../test/support/dra-kubelet.ts";
import { until } from "../../../test/support/until.ts";
import type { Allocations } from "../../pools/decide-allocations.ts";
import { kubeletPaths } from "../../kubelet/kubelet-paths.ts";
import { LeftClaims } from "./left-claims.ts";

const host = new ClaimNode();
let kubelet: DraKubelet;
let changes: number;
let held: Allocations;
let errors: string[];
const all: LeftClaims[] = [];
const nothing = () => {};
beforeEach(() => {
  [changes, held, errors] = [0, new Map(), []];
  mkdirSync(host.cdi, { recursive: true });
  kubelet = new DraKubelet(`${host.root}/kubelet`);
  kubelet.start();
});
afterEach(async () => {
  for (const left of all.splice(0)) await left.close();
  kubelet.stop();
});

/** The device-plugin role begins on a node that had the DRA role. */
function startDevicePlugin(serveAfter = 20, paths = kubeletPaths(kubelet.root)): LeftClaims {
  const { root } = host;
  const podAllocations = {
    get allocations() {
      return held;
    },
  };
  const left = new LeftClaims(
    { root, paths, driver, podAllocations, changed: () => changes++, serveAfter, readAgain: 20 },
    { info: nothing, warn: nothing, error: (message) => void errors.push(message), debug: nothing },
  );
  all.push(left);
  left.start();
  return left;
}

const prepared = async (name: string, index: number) => {
  const claim = host.allocate(aClaimReference(name), aResult("a", ids(index)));
  await host.start().prepare(claim, new AbortController().signal);
  return claim;
};

describe("a claim that the DRA role left", () => {
  test("has its devices until the kubelet unprepares it", async () => {
    const claim = await prepared("pod", 0);
    const left = startDevicePlugin();
    expect([...left.prepared]).toEqual([[ids(0), { resource: driver, pod: "claim default/pod" }]]);
    expect(left.allocations).toMatchObject([{ resource: "intel.com/net", id: ids(0), pod: "claim default/pod" }]);
    await kubelet.waitForPlugins(driver);
    await kubelet.unprepare(driver, claim);
    expect([left.prepared.size, host.filesIn(host.cdi), host.filesIn(host.deviceInfo)]).toEqual([0, [], []]);
    expect(changes).toBeGreaterThan(0);
    await kubelet.waitForPlugins(driver, 0);
  });

  test("is not prepared again, and the answer says why", async () => {
    const claim = await prepared("pod", 0);
    startDevicePlugin();
    await kubelet.waitForPlugins(driver);
    expect(await failureOf(kubelet.prepare(driver, claim))).toContain("it left the DRA role");
    expect(host.filesIn(host.cdi)).toHaveLength(1);
  });

  test("is not served before the kubelet has forgotten the driver", async () => {
    await prepared("pod", 0);
    const left = startDevicePlugin(3_600_000);
    await Bun.sleep(50);
    expect(kubelet.endpoints(driver)).toEqual([]);
    expect(left.prepared.size).toBe(1);
  });

  test("is seen when another process prepares it, and when that unprepares it", async () => {
    const left = startDevicePlugin();
    expect(left.prepared.size).toBe(0);
    const claims = host.start();
    const claim = host.allocate(aClaimReference("pod"), aResult("a", ids(1)));
    await claims.prepare(claim, new AbortController().signal);
    await until("it is seen", () => changes > 0);
    expect([...left.prepared.keys()]).toEqual([ids(1)]);
    const before = changes;
    claims.unprepare(claim);
    await until("its end is seen", () => changes > before && left.prepared.size === 0);
  });
});

test("claims that could not be read at the start are read later, and can be unprepared", async () => {
  const claim = await prepared("pod", 0);
  renameSync(host.cdi, `${host.cdi}.away`);
  writeFileSync(host.cdi, "");
  const left = startDevicePlugin();
  expect(left.prepared.size).toBe(0);
  await Bun.sleep(60);
  rmSync(host.cdi);
  renameSync(`${host.cdi}.away`, host.cdi);
  await until("it is seen", () => changes > 0 && left.prepared.size === 1);
  await kubelet.waitForPlugins(driver);
  await kubelet.unprepare(driver, claim);
  expect(left.prepared.size).toBe(0);
  expect(errors).toEqual(["cannot read what is prepared for claims; retrying"]);
});

test("a folder of sockets whose path is too long is an error, which ends nothing else", async () => {
  await prepared("pod", 0);
  const left = startDevicePlugin(1, kubeletPaths(`/${"x".repeat(100)}`));
  await until("it is logged", () => errors.length > 0);
  expect(errors).toEqual(["cannot serve the DRA driver; pods with claims cannot end"]);
  expect([...left.prepared.keys()]).toEqual([ids(0)]);
});

test("a claim that the kubelet alone reports can be unprepared, since its files are not mounted", async () => {
  const claim = aClaimReference("pod");
  const device = { resource: driver, id: ids(0), pod: "default/pod", container: "c", isClaimed: true };
  held = new Map([[device.id, { ...device, evidence: "pod-resources", uid: null, namedAt: 0 }]]);
  const left = startDevicePlugin();
  await kubelet.waitForPlugins(driver);
  await kubelet.unprepare(driver, claim);
  held = new Map();
  left.check();
  await kubelet.waitForPlugins(driver, 0);
});

test("no driver is served where no claim is left", async () => {
  startDevicePlugin(1);
  await Bun.sleep(50);
  expect(kubelet.events).toEqual([]);
});

test("a folder of CDI specs that is not there has no claims", () => {
  rmSync(host.cdi, { recursive: true, force: true });
  expect(startDevicePlugin().prepared.size).toBe(0);
});
