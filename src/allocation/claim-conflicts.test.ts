import { describe, expect, test } from "bun:test";
import { aPool, aResult, aVf, claimOf, driver, dpdk, ids, net, node, uid } from "../../test/support/claims.ts";
import { aCharDevice } from "../../test/support/device.ts";
import type { Pool } from "../pools/pool.ts";
import { type AllocationResult, claimedDevices, type ClaimRecord } from "./claim.ts";
import { claimConflict, isStillAllocated, refuseDevices, refuseResults } from "./claim-conflicts.ts";

const place = { driver, node };
const claimedOf = (pools: readonly Pool[], ...results: readonly AllocationResult[]) =>
  claimedDevices(claimOf(...results), driver, pools);
const nobody = () => null;

describe("an allocation", () => {
  test("of devices of this node is no problem, whatever other drivers have", () => {
    const gpu = aResult("gpu", "gpu-0", { driver: "gpu.example.com", pool: "node-b/gpus" });
    expect(refuseResults(claimOf(gpu, aResult("a", ids(0))), place)).toBeNull();
  });

  test("on another node is refused: the same address is another device there", () => {
    const claim = claimOf(aResult("a", ids(0)), aResult("a", ids(1), { pool: "node-b/0000-3b-00.0" }));
    expect(refuseResults(claim, place)).toBe(
      'device "0000-3b-02-1" of pool "node-b/0000-3b-00.0" is not on node node-a',
    );
  });

  test("without a device of the driver is refused", () => {
    const claim = claimOf(aResult("gpu", "gpu-0", { driver: "gpu.example.com" }));
    expect(refuseResults(claim, place)).toBe("the claim has no device of driver sriovdp.example.com");
  });
});

describe("a device", () => {
  test("that a pod has from the device plugin is refused, except to who only watches it", () => {
    const held = (id: string) => (id === ids(1) ? "default/old" : null);
    expect(refuseDevices(claimedOf([net], aResult("a", ids(0)), aResult("a", ids(1))), held)).toBe(
      "device 0000:3b:02.1 is held by pod default/old, which got it from the device plugin or another driver, until that pod ends",
    );
    expect(refuseDevices(claimedOf([net], aResult("a", ids(1), { adminAccess: true })), held)).toBeNull();
  });

  test("whose link is down is handed out: its taint keeps others from it", () => {
    const down = { ...net, unhealthy: new Map([[ids(0), "the link of its PF ens1f0 is down"]]) };
    expect(refuseDevices(claimedOf([down], aResult("a", ids(0))), nobody)).toBeNull();
  });

  test.each([
    ["without a driver", { driver: null }, "no driver is bound to it any more"],
    [
      "whose device node is gone",
      { vfio: { group: "7", node: aCharDevice("/dev/vfio/7", false) } as never },
      "its character device /dev/vfio/7 is gone",
    ],
  ])("%s is refused", (_, facts, reason) => {
    const broken = aPool("intel.com/dpdk", [aVf(4, facts)]);
    expect(refuseDevices(claimedOf([broken], aResult("a", ids(4))), nobody)).toBe(
      `device 0000:3b:02.4 of intel.com/dpdk can't be used: ${reason}`,
    );
  });

  test("that leaves its pool when its pod ends is refused to all others", () => {
    const [[id, claim] = ["", null]] = dpdk.claims;
    if (!claim) throw new Error("no device");
    const leaving = { ...dpdk, claims: new Map([[id, { ...claim, basis: "draining" as const }]]) };
    expect(refuseDevices(claimedOf([leaving], aResult("a", ids(4))), nobody)).toContain("no longer selects it");
    const kept = { ...dpdk, claims: new Map([[id, { ...claim, basis: "retained" as const }]]) };
    expect(refuseDevices(claimedOf([kept], aResult("a", ids(4))), nobody)).toBeNull();
  });
});

const recordOf = (uid: string, ...indexes: readonly number[]): ClaimRecord => ({
  uid,
  namespace: "default",
  name: `claim-${uid}`,
  pods: [],
  podUids: [],
  devices: indexes.map((index) => ({ resource: "intel.com/net", id: ids(index) })),
});

describe("a conflict", () => {
  const records = [recordOf("other", 1, 2), recordOf(uid, 0)];

  test("is a device that another claim has, under whichever resource", () => {
    const claimed = claimedOf([net], aResult("a", ids(0)), aResult("a", ids(2)));
    expect(claimConflict(uid, claimed, records)).toEqual({ id: ids(2), holder: recordOf("other", 1, 2) });
  });

  test("is neither with the claim itself nor with other devices, nor with adminAccess", () => {
    const claimed = claimedOf([net], aResult("a", ids(0)), aResult("watch", ids(1), { adminAccess: true }));
    expect(claimConflict(uid, claimed, records)).toBeNull();
  });

  test("lasts while the other claim is allocated the device on this node", () => {
    const conflict = { id: ids(1), holder: recordOf(uid, 1, 2) };
    const lasts = (...results: readonly AllocationResult[]) => isStillAllocated(conflict, claimOf(...results), place);
    expect(lasts(aResult("a", ids(2)), aResult("b", ids(1)))).toBe(true);
    // The pool of a device may have had another name before an update.
    expect(lasts(aResult("a", ids(1), { pool: "node-a/0000-3b-00.0/64" }))).toBe(true);
    expect(lasts(aResult("a", ids(2)))).toBe(false);
    expect(lasts(aResult("a", ids(1), { pool: "node-b/0000-3b-00.0" }))).toBe(false);
    expect(lasts(aResult("a", ids(1), { driver: "other.example.com" }))).toBe(false);
    expect(lasts(aResult("a", ids(1), { adminAccess: true }))).toBe(false);
  });

  test("ends with the other claim, also when another one has its name", () => {
    const conflict = { id: ids(1), holder: recordOf("old", 1) };
    expect(isStillAllocated(conflict, null, place)).toBe(false);
    expect(isStillAllocated(conflict, claimOf(aResult("a", ids(1))), place)).toBe(false);
  });
});
