// The whole way of a claim: a kubelet double calls the server on its socket, which reads the claim from a played API server.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { ApiServer, refuse } from "../../../test/support/api-server.ts";
import { ClaimNode } from "../../../test/support/claim-node.ts";
import { aResult, driver, ids } from "../../../test/support/claims.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { DraKubelet } from "../../../test/support/dra-kubelet.ts";
import { accessTo } from "../../../test/support/slices.ts";
import { until } from "../../../test/support/until.ts";
import type { AllocationResult, ClaimReference } from "../../allocation/claim.ts";
import { resourceClaims } from "../../dra/resource-claim.ts";
import type { KubeObject } from "../../kube/api-client.ts";
import { DraServer, type DraServerOptions } from "../../kubelet/dra-server.ts";
import { kubeletPaths } from "../../kubelet/kubelet-paths.ts";
import { claimReader } from "./claim-reads.ts";

const api = new ApiServer(resourceClaims);
beforeAll(async () => {
  await api.start();
});
afterAll(() => api.stop());

const host = new ClaimNode();
let kubelet: DraKubelet;
const plugins = new Set<{ close(): Promise<void> }>();
beforeEach(() => {
  kubelet = new DraKubelet(`${host.root}/kubelet`);
  kubelet.start();
});
afterEach(async () => {
  kubelet.stop();
  for (const plugin of plugins) await plugin.close();
  plugins.clear();
});

/** A process of ours, from its start to its end. */
async function startPlugin(own: Partial<DraServerOptions> & { readonly requestLimit?: number } = {}) {
  const { requestLimit = 10_000, ...options } = own;
  const claims = host.start({ readClaim: claimReader({ ...accessTo(api), requestLimit }) });
  const log = { info: () => {}, warn: () => {}, debug: () => {} };
  const server = new DraServer({
    driver,
    instance: "",
    paths: kubeletPaths(kubelet.root),
    log,
    prepare: (claim, signal) => claims.prepare(claim, signal),
    unprepare: (claim) => claims.unprepare(claim),
    ...options,
  });
  const plugin = {
    claims,
    server,
    close: async () => {
      plugins.delete(plugin);
      claims.close();
      await server.close();
    },
  };
  plugins.add(plugin);
  server.start();
  await until("it is registered", () => server.registration.state === "connected");
  return plugin;
}

/** A claim of the cluster with these devices. */
function allocated(name: string, ...results: readonly AllocationResult[]): ClaimReference {
  const { metadata } = api.set({
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceClaim",
    metadata: { name, namespace: "default" },
    status: {
      allocation: {
        devices: {
          results: results.map(({ shareId, ...result }) => ({ ...result, ...(shareId && { shareID: shareId }) })),
        },
      },
    },
  } as KubeObject);
  return { namespace: "default", name, uid: metadata.uid ?? "" };
}

const prepare = async (...claims: readonly ClaimReference[]) => {
  const answers = await kubelet.prepare(driver, ...claims);
  return claims.map(({ uid }) => answers[uid]?.devices.flatMap(({ cdiDeviceIds }) => cdiDeviceIds));
};

describe("a claim", () => {
  test("is prepared, prepared again for another pod, and unprepared", async () => {
    await startPlugin();
    const claim = allocated("pod", aResult("a", ids(0)), aResult("b", ids(4)));
    const first = await prepare(claim);
    expect(first[0]).toContain(`${driver}/claim=${claim.uid}.a.0000-3b-02-0`);
    // The runtime injects what the answer names: all of it is in the spec.
    const { devices, kind } = JSON.parse(readFileSync(host.specOf(claim), "utf8")) as {
      kind: string;
      devices: { name: string }[];
    };
    expect(first[0]?.toSorted()).toEqual(devices.map(({ name }) => `${kind}=${name}`).toSorted());
    expect(await prepare(claim)).toEqual(first);
    await kubelet.unprepare(driver, claim);
    await kubelet.unprepare(driver, claim);
    expect([host.filesIn(host.cdi), host.filesIn(host.deviceInfo)]).toEqual([[], []]);
  });

  test("is the same after restarts of the kubelet and of the plugin, and is unprepared after them", async () => {
    const plugin = await startPlugin();
    const claim = allocated("pod", aResult("a", ids(0)));
    const before = await prepare(claim);
    kubelet.stop();
    kubelet.start();
    await kubelet.waitForPlugins(driver);
    expect(await prepare(claim)).toEqual(before);
    await plugin.close();
    const after = await startPlugin();
    expect(await prepare(claim)).toEqual(before);
    kubelet.stop();
    await after.close();
    kubelet.start();
    await startPlugin();
    await kubelet.waitForPlugins(driver);
    await kubelet.unprepare(driver, claim);
    expect([host.filesIn(host.cdi), host.filesIn(host.deviceInfo)]).toEqual([[], []]);
  });

  test("is prepared by one instance and unprepared by the next, and no instance brings it back", async () => {
    const old = await startPlugin({ instance: "old" });
    const [one, two] = [allocated("one", aResult("a", ids(0))), allocated("two", aResult("a", ids(1)))];
    await prepare(one, two);
    const young = await startPlugin({ instance: "young" });
    await kubelet.waitForPlugins(driver, 2);
    await kubelet.unprepare(driver, one);
    for (const { claims } of [old, young]) {
      claims.restore();
      expect(claims.records().map(({ name }) => name)).toEqual(["two"]);
    }
    await old.close();
    await kubelet.waitForPlugins(driver, 1);
    await kubelet.unprepare(driver, two);
    expect(host.filesIn(host.cdi)).toEqual([]);
    expect(readdirSync(`${kubelet.root}/plugins_registry`)).toHaveLength(1);
  });

  test("whose spec was truncated between two processes is prepared anew", async () => {
    const plugin = await startPlugin();
    const claim = allocated("pod", aResult("a", ids(0)));
    const before = await prepare(claim);
    await plugin.close();
    const text = readFileSync(host.specOf(claim), "utf8");
    writeFileSync(host.specOf(claim), text.slice(0, text.length - 1));
    await startPlugin();
    expect(await prepare(claim)).toEqual(before);
    expect(readFileSync(host.specOf(claim), "utf8")).toBe(text);
  });

  test("that failed fails its pod with the reason, and no other", async () => {
    await startPlugin();
    const good = allocated("good", aResult("a", ids(0)));
    const bad = allocated("bad", aResult("a", "0000:3b:02.7"));
    expect(await failureOf(prepare(bad))).toBe(
      'NodePrepareResources failed for ResourceClaim bad: device "0000-3b-02-7" is in no pool of this node',
    );
    expect(await failureOf(prepare({ ...good, name: "gone" }))).toContain("claim default/gone does not exist");
    expect(await failureOf(prepare({ ...good, uid: crypto.randomUUID() }))).toContain("replaced by another one");
    expect(await failureOf(prepare({ ...good, namespace: "../../secrets" }))).toContain("is not a name");
    const { claims } = await kubelet.callPrepare(driver, [bad, good]);
    expect([claims[bad.uid]?.error === "", claims[good.uid]?.error]).toEqual([false, ""]);
  });
});

const isFor = (name: string) => (request: { readonly path: string }) => request.path.endsWith(`/${name}`);

describe("a device of a claim that is forbidden to be read", () => {
  const forbid = (user: string, reason: string) =>
    api.misbehave(
      (_, response) =>
        refuse(
          response,
          403,
          "Forbidden",
          `resourceclaims.resource.k8s.io "first" is forbidden: User "${user}" cannot get resource "resourceclaims" in API group "resource.k8s.io" in the namespace "default"${reason}`,
          { name: "first", kind: "resourceclaims" },
        ),
      isFor("first"),
    );

  test("to the kubelet's own identity is released: no pod of this node has it", async () => {
    await startPlugin();
    const first = allocated("first", aResult("a", ids(0)));
    await prepare(first);
    forbid("system:node:node-a", ": no relationship found between node 'node-a' and this object");
    await prepare(allocated("second", aResult("a", ids(0))));
    expect(host.filesIn(host.cdi)).toHaveLength(1);
  });

  test("to a service account is refused: it may be in use", async () => {
    await startPlugin();
    const first = allocated("first", aResult("a", ids(0)));
    await prepare(first);
    forbid("system:serviceaccount:kube-system:sriovdp", "");
    expect(await failureOf(prepare(allocated("second", aResult("a", ids(0)))))).toContain("grant this right");
    expect(host.filesIn(host.cdi)).toEqual([`${driver}-claim_${first.uid}.json`]);
  });
});

describe("an API server that does not answer", () => {
  test("fails the claims that are read from it, within the time of a request", async () => {
    await startPlugin({ requestLimit: 200 });
    const [good, stuck] = [allocated("good", aResult("a", ids(0))), allocated("stuck", aResult("a", ids(1)))];
    api.misbehave(() => {}, isFor("stuck"));
    const { claims } = await kubelet.callPrepare(driver, [stuck, good]);
    expect(claims[stuck.uid]?.error).toContain("no answer in time");
    expect(claims[good.uid]?.error).toBe("");
    // The kubelet calls again.
    expect(await prepare(stuck)).toHaveLength(1);
  });

  test("fails them within the time of the call in any case, and nothing is prepared later", async () => {
    await startPlugin({ prepareLimit: 200 });
    const stuck = allocated("stuck", aResult("a", ids(1)));
    let answer = () => {};
    api.misbehave((_, response) => (answer = () => response.end("{}")), isFor("stuck"));
    expect(await failureOf(prepare(stuck))).toContain("could not be prepared within 0.2 s");
    answer();
    expect(host.filesIn(host.cdi)).toEqual([]);
  });

  test("keeps no claim from being unprepared, nor one that is prepared from having its spec", async () => {
    const plugin = await startPlugin();
    const claim = allocated("pod", aResult("a", ids(0)));
    await prepare(claim);
    await api.stop();
    try {
      expect(await failureOf(prepare(claim))).toContain("GET /apis/resource.k8s.io/v1/namespaces/default");
      expect(plugin.claims.records()).toHaveLength(1);
      await kubelet.unprepare(driver, claim);
      expect(host.filesIn(host.cdi)).toEqual([]);
    } finally {
      await api.start();
    }
  });
});
