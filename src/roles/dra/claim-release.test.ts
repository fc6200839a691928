import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { aClaimReference, aResourceClaim, ClaimNode, forever } from "../../../test/support/claim-node.ts";
import { aResult, driver, ids } from "../../../test/support/claims.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { until } from "../../../test/support/until.ts";
import { type ClaimReference, readClaimSpec } from "../../allocation/claim.ts";
import type { PreparedClaims } from "./claim-calls.ts";

const host = new ClaimNode();

const prepare = (claims: PreparedClaims, reference: ClaimReference) => claims.prepare(reference, forever());

const cgroupOf = (pod: string) => `${host.root}/sys/fs/cgroup/kubepods/besteffort/poduid-of-${pod}`;

/** A pod that the kubelet has admitted. */
function startPod(pod: string): void {
  mkdirSync(`${cgroupOf(pod)}/container`, { recursive: true });
}

/** The kubelet removes the cgroup of a pod when its containers have ended. */
function endPod(pod: string): void {
  rmdirSync(`${cgroupOf(pod)}/container`);
  rmdirSync(cgroupOf(pod));
}

/** Allocates VFs of these indexes to the claim of a pod that starts. */
function claimFor(pod: string, reference: ClaimReference, ...indexes: readonly number[]): ClaimReference {
  startPod(pod);
  const results = indexes.map((index) => aResult("a", ids(index)));
  host.cluster.set(`default/${reference.name}`, aResourceClaim(reference, results, pod));
  return reference;
}

const podsOf = (reference: ClaimReference) =>
  readClaimSpec(readFileSync(host.specOf(reference), "utf8"), driver)?.record.podUids;

const heldBy = (claims: PreparedClaims) =>
  Object.fromEntries(claims.records().map(({ name, devices }) => [name, devices.map(({ id }) => id).join()]));

describe("the devices of a claim that is unprepared while its pod runs, as after a deletion by force", () => {
  test("go to no other claim until the pod has ended, whichever process is asked", async () => {
    const first = claimFor("first", aClaimReference("first"), 0, 1);
    const before = host.start();
    await prepare(before, first);
    host.cluster.delete("default/first");
    before.unprepare(first);
    expect(existsSync(host.specOf(first))).toBe(false);
    const second = claimFor("second", aClaimReference("second"), 0);
    for (const claims of [before, host.start()]) {
      expect(await failureOf(prepare(claims, second))).toBe(
        `device ${ids(0)} is in use: pod default/first still runs, though claim default/first was unprepared; it is free when that pod has ended`,
      );
      expect(heldBy(claims)).toEqual({ first: ids(0, 1) });
    }
    endPod("first");
    await prepare(before, second);
    expect(heldBy(before)).toEqual({ second: ids(0) });
  });

  test("are waited for: the kubelet removes the cgroup of every pod a little later than it unprepares its claims", async () => {
    const claims = host.start({ podsEndWithin: 60_000 });
    const first = claimFor("first", aClaimReference("first"), 0);
    await prepare(claims, first);
    claims.unprepare(first);
    const call = prepare(claims, claimFor("second", aClaimReference("second"), 0));
    await Bun.sleep(20);
    endPod("first");
    expect(await call).toHaveLength(1);
    expect(heldBy(claims)).toEqual({ second: ids(0) });
  });

  test("are reported to be free when the pod has ended", async () => {
    const claims = host.start();
    const first = claimFor("first", aClaimReference("first"), 0);
    await prepare(claims, first);
    claims.unprepare(first);
    const { changes } = host;
    endPod("first");
    await until("it is reported", () => host.changes > changes);
    expect(heldBy(claims)).toEqual({});
  });

  test("go to the same claim again, which then remembers both pods", async () => {
    const claims = host.start();
    const shared = claimFor("first", aClaimReference("shared"), 0);
    await prepare(claims, shared);
    claims.unprepare(shared);
    await prepare(claims, claimFor("second", shared, 0));
    expect(podsOf(shared)).toEqual(["uid-of-second", "uid-of-first"]);
    claims.unprepare(shared);
    endPod("second");
    const other = claimFor("third", aClaimReference("other"), 0);
    expect(await failureOf(prepare(claims, other))).toContain("pod default/first still runs");
  });

  test("are not forgotten when the claim gets other devices", async () => {
    const claims = host.start();
    const shared = claimFor("first", aClaimReference("shared"), 0);
    await prepare(claims, shared);
    claims.unprepare(shared);
    claimFor("second", shared, 1);
    expect(await failureOf(prepare(claims, shared))).toContain(`device ${ids(0)} is in use: pod default/first`);
    endPod("first");
    await prepare(claims, shared);
    expect(heldBy(claims)).toEqual({ shared: ids(1) });
  });

  test("stay reserved for longer than the end of other claims can be seen", async () => {
    const claims = host.start();
    const [first, second] = [aClaimReference("first"), aClaimReference("second")];
    await prepare(claims, claimFor("first", first, 0));
    await prepare(claims, claimFor("second", second, 1));
    claims.unprepare(first);
    claims.unprepare(second);
    endPod("second");
    for (const name of readdirSync(host.cdi)) utimesSync(`${host.cdi}/${name}`, 0, 0);
    const later = host.start();
    expect(readdirSync(host.cdi)).toEqual([`.${driver}-claim_${first.uid}.ended`]);
    expect(heldBy(later)).toEqual({ first: ids(0) });
  });

  test.each([
    ["cgroups of pods are not visible", () => rmSync(`${host.root}/sys/fs`, { recursive: true })],
    [
      "it was prepared by a version that recorded no UIDs",
      (first: ClaimReference) => {
        const text = readFileSync(host.specOf(first), "utf8");
        writeFileSync(host.specOf(first), text.replace(String.raw`,\"podUids\":[\"uid-of-first\"]`, ""));
      },
    ],
  ])("are free at once where %s", async (_, change) => {
    const first = claimFor("first", aClaimReference("first"), 0);
    const second = claimFor("second", aClaimReference("second"), 0);
    await prepare(host.start(), first);
    change(first);
    const claims = host.start();
    claims.unprepare(first);
    await prepare(claims, second);
    expect(heldBy(claims)).toEqual({ second: ids(0) });
  });
});

test("a claim that is gone and was never unprepared keeps its devices while its pod runs", async () => {
  const claims = host.start();
  const first = claimFor("first", aClaimReference("first"), 0);
  await prepare(claims, first);
  host.cluster.delete("default/first");
  const second = claimFor("second", aClaimReference("second"), 0);
  expect(await failureOf(prepare(claims, second))).toBe(
    `device ${ids(0)} is prepared for claim default/first, which is gone, but its pod default/first still runs`,
  );
  endPod("first");
  await prepare(claims, second);
  expect(heldBy(claims)).toEqual({ second: ids(0) });
});

describe("a claim that is shared and prepared again", () => {
  test("records its new pod, and those before that still run", async () => {
    const claims = host.start();
    const shared = claimFor("first", aClaimReference("shared"), 0);
    const before = await prepare(claims, shared);
    expect(await prepare(claims, claimFor("second", shared, 0))).toEqual(before);
    expect(podsOf(shared)).toEqual(["uid-of-second", "uid-of-first"]);
    endPod("first");
    await prepare(claims, claimFor("third", shared, 0));
    expect(podsOf(shared)).toEqual(["uid-of-third", "uid-of-second"]);
    expect(heldBy(host.start())).toEqual({ shared: ids(0) });
  });

  test("has its spec as it was, the record aside", async () => {
    const claims = host.start();
    const shared = claimFor("first", aClaimReference("shared"), 0);
    await prepare(claims, shared);
    const { annotations: _, ...spec } = JSON.parse(readFileSync(host.specOf(shared), "utf8")) as {
      annotations: object;
    };
    await prepare(claims, claimFor("second", shared, 0));
    expect(JSON.parse(readFileSync(host.specOf(shared), "utf8"))).toMatchObject(spec);
    rmSync(host.specOf(shared));
    claims.restore();
    expect(podsOf(shared)).toEqual(["uid-of-second", "uid-of-first"]);
  });
});
