import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  claimFileName,
  claimUidIn,
  draSocketName,
  endedClaimFileName,
  endedClaimUidIn,
  isClaimUid,
  isDraSocketName,
  isPoolOfNode,
} from "./dra-names.ts";

const driver = "sriovdp.example.com";
const long = "sriovnetwork.k8snetworkplumbingwg.io";
const uid = "7d0e3a52-8f0d-4a51-9d3b-0f1f2d3c4b5a";
/** What /var/lib/kubelet/plugins_registry leaves of 107 bytes. */
const usual = 73;

describe("the file of a claim", () => {
  test("is named as CDI libraries name such files, and its claim is found by the name", () => {
    expect(claimFileName(driver, uid)).toBe(`sriovdp.example.com-claim_${uid}.json`);
    expect(claimUidIn(driver, claimFileName(driver, uid))).toBe(uid);
    expect(endedClaimUidIn(driver, endedClaimFileName(driver, uid))).toBe(uid);
  });

  test.each([
    `other.example.com-claim_${uid}.json`,
    `x${claimFileName(driver, uid)}`,
    `.${claimFileName(driver, uid)}`,
    `${claimFileName(driver, uid)}.yaml`,
    "sriovdp.example.com-claim_.json",
    "sriovdp.example.com-claim_..json",
    "sriovdp.example.com-claim_a.b.json",
    "sriovdp.example.com-claim_a/b.json",
    "sriov-dp-intel.com-net-pci-net.yaml",
    "",
  ])("is none of the driver's: %p", (file) => {
    expect(claimUidIn(driver, file)).toBeNull();
    expect(endedClaimUidIn(driver, file)).toBeNull();
  });

  test.each(["", "-", "a-", "-a", "a.b", "../a", "a/b", "a b", "a\n", "é", "__proto__", "a".repeat(65)])(
    "can't have the UID %p",
    (text) => expect(isClaimUid(text)).toBe(false),
  );
});

describe("the socket of the driver", () => {
  test("has the driver and the instance in its name", () => {
    expect(draSocketName(driver, uid, usual)).toBe(`sriovdp.example.com-${uid}-reg.sock`);
    expect(draSocketName(driver, "", usual)).toBe("sriovdp.example.com-reg.sock");
  });

  test("of a driver with a long name has a hash of the instance", () => {
    const name = draSocketName(long, uid, usual) ?? "";
    expect(name).toMatch(/^sriovnetwork\.k8snetworkplumbingwg\.io-[0-9a-z]+-reg\.sock$/);
    expect(draSocketName(long, `${uid.slice(0, -1)}b`, usual)).not.toBe(name);
  });

  test("fits, differs between instances and is known, whatever the names; or there is none", () => {
    const names = fc.record({
      driver: fc.stringMatching(/^[a-z][-a-z0-9.]{0,61}[a-z]$/),
      instance: fc.oneof(
        fc.uuid(),
        fc.constant(""),
        fc.constantFrom("node-a", "../x", "a b"),
        fc.string({ maxLength: 80 }),
      ),
      limit: fc.integer({ min: 10, max: 80 }),
    });
    fc.assert(
      fc.property(names, ({ driver, instance, limit }) => {
        const name = draSocketName(driver, instance, limit);
        if (name === null) {
          expect(limit).toBeLessThan(24);
          return;
        }
        expect(name.length).toBeLessThanOrEqual(limit);
        expect(name).not.toContain("/");
        expect(isDraSocketName(name, driver, limit)).toBe(true);
        expect(draSocketName(driver, `${instance}2`, limit)).not.toBe(name);
      }),
      { seed: 20_261_128, numRuns: 500 },
    );
  });

  test.each([
    "sriovdp.example.com-reg.sock.x",
    "sriovdp.example.com-other-driver-reg.sock",
    `sriovdp.example.com-other-${uid}-reg.sock`,
    "other.example.com-reg.sock",
    "intel.com_net.sock",
    "-reg.sock",
  ])("is none of the driver's: %p", (file) => expect(isDraSocketName(file, driver, usual)).toBe(false));
});

describe("a pool of the node", () => {
  test("is known by its beginning", () => {
    expect(isPoolOfNode("node-a/0000-3b-00.0", "node-a")).toBe(true);
    expect(isPoolOfNode("node-a/0000-3b-00.0/64", "node-a")).toBe(true);
  });

  test("is not one of a node whose name only begins the same", () => {
    expect(isPoolOfNode("node-a2/0000-3b-00.0", "node-a")).toBe(false);
    expect(isPoolOfNode("node-a/0000-3b-00.0", "node-a2")).toBe(false);
    expect(isPoolOfNode("", "node-a")).toBe(false);
  });
});
