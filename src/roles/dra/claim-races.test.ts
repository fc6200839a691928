import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { aClaimReference, aResourceClaim, ClaimNode, forever } from "../../../test/support/claim-node.ts";
import { aResult, ids } from "../../../test/support/claims.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { until } from "../../../test/support/until.ts";
import type { ClaimReference } from "../../allocation/claim.ts";
import type { PreparedClaims } from "./claim-calls.ts";

const host = new ClaimNode();

const prepare = (claims: PreparedClaims, reference: ClaimReference) => claims.prepare(reference, forever());

/** What is prepared: the devices of each claim by its name. */
const prepared = (claims: PreparedClaims) =>
  Object.fromEntries(claims.records().map(({ name, devices }) => [name, devices.map(({ id }) => id).join()]));

/** Lets reads of a claim wait; each call of what is given lets the first of them go on. */
function holdReads(name: string): { readonly waiting: () => number; readonly release: () => void } {
  const waiting: (() => void)[] = [];
  host.reading = (reference) =>
    reference.name === name ? new Promise<void>((resolve) => waiting.push(resolve)) : Promise.resolve();
  return { waiting: () => waiting.length, release: () => waiting.shift()?.() };
}

describe("a device that is prepared for one claim", () => {
  test("is refused to another one while the first is allocated, before and after a restart", async () => {
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)), aResult("a", ids(1)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(2)), aResult("a", ids(1)));
    await prepare(host.start(), first);
    const claims = host.start();
    expect(await failureOf(prepare(claims, second))).toBe(
      `device ${ids(1)} is prepared for claim default/first, which still has it; it is free when the pods of that claim have ended`,
    );
    expect(prepared(claims)).toEqual({ first: ids(0, 1) });
    claims.unprepare(first);
    await prepare(claims, second);
    expect(prepared(claims)).toEqual({ second: ids(2, 1) });
  });

  test.each([
    ["is gone", () => host.cluster.delete("default/first")],
    ["was replaced by another one", () => host.allocate(aClaimReference("first"), aResult("a", ids(0)))],
    [
      "is no longer allocated",
      (first: ClaimReference) => host.cluster.set("default/first", aResourceClaim(first, null)),
    ],
    ["has another device", (first: ClaimReference) => host.allocate(first, aResult("a", ids(3)))],
    [
      "has it on another node",
      (first: ClaimReference) => host.allocate(first, aResult("a", ids(0), { pool: "node-b/0000-3b-00.0" })),
    ],
  ])("is given to another one when the first %s and was never unprepared", async (_, end) => {
    const claims = host.start();
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)), aResult("a", ids(1)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    end(first);
    await prepare(claims, second);
    expect(prepared(claims)).toEqual({ second: ids(0) });
    expect(existsSync(host.specOf(first))).toBe(false);
    // The file of the device that both had is the second one's by now.
    expect(host.filesIn(host.deviceInfo)).toEqual([`intel.com-net-${ids(0)}-device.json`]);
    expect(host.logged.filter((line) => line.startsWith("warn"))).toEqual([
      `warn released the devices of a claim that is gone {"claim":"default/first","uid":"${first.uid}","devices":["${ids(0)}","${ids(1)}"]}`,
    ]);
  });

  test("is not given away at once: the pod of a claim that is gone may still run", async () => {
    const claims = host.start({ releaseAfter: 60_000 });
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    host.cluster.delete("default/first");
    for (let round = 0; round < 2; round++)
      expect(await failureOf(prepare(claims, second))).toContain("it is released after 60 s");
    expect(prepared(claims)).toEqual({ first: ids(0) });
    // The kubelet unprepares it when the pod has ended.
    claims.unprepare(first);
    await prepare(claims, second);
  });

  test("is given away once the claim has been gone for long enough", async () => {
    const claims = host.start({ releaseAfter: 50 });
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    host.cluster.delete("default/first");
    await until("it is prepared", async () => (await failureOf(prepare(claims, second))) === "");
    expect(prepared(claims)).toEqual({ second: ids(0) });
  });

  test("is refused where it is not known whether the first claim has it", async () => {
    const claims = host.start();
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    host.reading = ({ name }) =>
      name === "first" ? Promise.reject(new Error("no answer in time")) : Promise.resolve();
    expect(await failureOf(prepare(claims, second))).toContain(
      "of which it is not known whether it still has it: no answer in time",
    );
    expect(prepared(claims)).toEqual({ first: ids(0) });
  });

  test("is refused also when its spec was removed by another program", async () => {
    const claims = host.start();
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    rmSync(host.specOf(first));
    expect(await failureOf(prepare(claims, second))).toContain("is prepared for claim default/first");
  });

  test("that two processes gave to two claims keeps its file for multus until both are unprepared", async () => {
    const claims = host.start();
    const [first, second] = [host.allocate(aClaimReference("first"), aResult("a", ids(0))), aClaimReference("second")];
    await prepare(claims, first);
    writeFileSync(host.specOf(second), readFileSync(host.specOf(first), "utf8").replaceAll(first.uid, second.uid));
    claims.unprepare(first);
    expect(host.filesIn(host.deviceInfo)).toHaveLength(1);
    claims.unprepare(second);
    expect(host.filesIn(host.deviceInfo)).toEqual([]);
  });

  test("is handed out with adminAccess, and one with adminAccess to another claim", async () => {
    const claims = host.start();
    const watch = host.allocate(aClaimReference("watch"), aResult("a", ids(0), { adminAccess: true }));
    const use = host.allocate(aClaimReference("use"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0), { adminAccess: true }));
    host.held.set(ids(0), "default/old");
    await prepare(claims, watch);
    host.held.clear();
    await prepare(claims, use);
    await prepare(claims, second);
    expect(prepared(claims)).toEqual({ watch: "", use: ids(0), second: "" });
    claims.unprepare(watch);
    expect(host.filesIn(host.deviceInfo)).toHaveLength(1);
  });
});

describe("calls at the same time", () => {
  test("for one claim have one result and one answer", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    const reads = holdReads("pod");
    const calls = [prepare(claims, pod), prepare(claims, pod)];
    await until("both read the claim", () => reads.waiting() === 2);
    reads.release();
    reads.release();
    const [one, two] = await Promise.all(calls);
    expect(one).toEqual(two as never);
    expect(host.changes).toBe(1);
    expect(host.filesIn(host.cdi)).toHaveLength(1);
  });

  test("for two claims of one device prepare the first", async () => {
    const claims = host.start();
    const references = ["a", "b"].map((name) => host.allocate(aClaimReference(name), aResult("r", ids(0))));
    const failures = await Promise.all(references.map((reference) => failureOf(prepare(claims, reference))));
    expect(failures.filter((failure) => failure === "")).toHaveLength(1);
    expect(Object.values(prepared(claims))).toEqual([ids(0)]);
  });

  test("prepare nothing for a claim that was unprepared meanwhile, and do for the next call", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    const reads = holdReads("pod");
    const late = failureOf(prepare(claims, pod));
    await until("it reads the claim", () => reads.waiting() === 1);
    claims.unprepare(pod);
    const next = prepare(claims, pod);
    await until("the next one reads it", () => reads.waiting() === 2);
    reads.release();
    expect(await late).toBe("the claim was unprepared meanwhile");
    expect(prepared(claims)).toEqual({});
    reads.release();
    await next;
    expect(prepared(claims)).toEqual({ pod: ids(0) });
  });

  test("prepare nothing after the time of the call is over, or the plugin has ended", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    const reads = holdReads("pod");
    const call = new AbortController();
    const late = [failureOf(claims.prepare(pod, call.signal)), failureOf(prepare(claims, pod))];
    await until("both read the claim", () => reads.waiting() === 2);
    call.abort(new Error("too late"));
    claims.close();
    reads.release();
    reads.release();
    expect(await Promise.all(late)).toEqual(["too late", "the plugin is exiting"]);
    expect(host.filesIn(host.cdi)).toEqual([]);
  });

  test("see that the first claim was unprepared while it was read", async () => {
    const claims = host.start();
    const first = host.allocate(aClaimReference("first"), aResult("a", ids(0)));
    const second = host.allocate(aClaimReference("second"), aResult("a", ids(0)));
    await prepare(claims, first);
    const reads = holdReads("first");
    const call = failureOf(prepare(claims, second));
    await until("the first claim is read", () => reads.waiting() === 1);
    claims.unprepare(first);
    host.cluster.delete("default/first");
    reads.release();
    expect(await call).toBe("");
    expect(prepared(claims)).toEqual({ second: ids(0) });
  });

  test("are refused while a device plugin runs, also to a claim that had other devices, but for what is prepared", async () => {
    const claim = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    await prepare(host.start(), claim);
    const claims = host.start({ mayPrepare: () => Promise.reject(new Error("a device plugin runs")) });
    expect(await failureOf(prepare(claims, claim))).toBe("");
    // The claim was allocated another device, and never unprepared.
    host.allocate(claim, aResult("a", ids(1)));
    expect(await failureOf(prepare(claims, claim))).toBe("a device plugin runs");
    expect(prepared(claims)).toEqual({ pod: ids(0) });
  });

  // Whatever the order of calls and restarts: the last line of defence holds.
  test("in any order, over restarts, never give a device to two claims that have it", async () => {
    const step = fc.oneof(
      fc.record({ do: fc.constantFrom("allocate"), claim: fc.nat(3), device: fc.nat(2) }),
      fc.record({ do: fc.constantFrom("prepare", "unprepare", "delete"), claim: fc.nat(3), device: fc.constant(0) }),
      fc.record({ do: fc.constantFrom("restart", "lose"), claim: fc.nat(3), device: fc.constant(0) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        host.cluster.clear();
        rmSync(host.cdi, { recursive: true, force: true });
        let claims = host.start();
        const references = ["a", "b", "c", "d"].map(aClaimReference);
        let calls: Promise<string>[] = [];
        for (const { do: what, claim, device } of steps) {
          const reference = references[claim];
          if (!reference) throw new Error("no claim");
          if (what === "allocate") host.allocate(reference, aResult("r", ids(device)));
          if (what === "prepare") calls.push(failureOf(prepare(claims, reference)));
          if (what === "unprepare") claims.unprepare(reference);
          if (what === "delete") host.cluster.delete(`default/${reference.name}`);
          if (what === "lose") rmSync(host.specOf(reference), { force: true });
          if (what === "restart") {
            claims.restore();
            claims.close();
            claims = host.start();
          }
          if (device === 1) {
            await Promise.all(calls);
            calls = [];
          }
          const devices = Object.values(prepared(claims));
          expect(new Set(devices).size).toBe(devices.length);
        }
        await Promise.all(calls);
        const devices = Object.values(prepared(claims));
        expect(new Set(devices).size).toBe(devices.length);
        claims.close();
      }),
      { seed: 20_261_128, numRuns: 60 },
    );
  }, 20_000);
});
