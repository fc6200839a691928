// A node with its kubelet, which knows device plugins and DRA drivers, and an API server for its ResourceSlices and claims.

import { writeFileSync } from "node:fs";
import type { AllocationResult, ClaimReference } from "../../src/allocation/claim.ts";
import { resourceSlices, type ResourceSlice } from "../../src/dra/resource-slice.ts";
import { ApiServer } from "./api-server.ts";
import { aResourceClaim } from "./claim-node.ts";
import { DraKubelet } from "./dra-kubelet.ts";
import { type NodeOptions, TestNode } from "./plugin.ts";
import { admitted } from "./publishers.ts";
import { until } from "./until.ts";

/** The driver of the executable, unless an option says otherwise. */
export const driver = "dra.sriovdp.io";

/** A Node that creates its first slices within some milliseconds of its start. */
export const nodeName = "node-32584";

export class DraNode extends TestNode {
  readonly api = new ApiServer(resourceSlices);
  readonly dra: DraKubelet;
  /** What the plugin is started with in the DRA role. */
  readonly args: readonly string[];

  private constructor(options: NodeOptions) {
    super(options);
    this.dra = new DraKubelet(this.kubelet.root);
    this.dra.ignored = new Set(["DevicePlugin"]);
    this.kubelet.ignored = new Set(["DRAPlugin"]);
    this.args = ["-v=5", "--allocator=dra", "--node-name", nodeName, "--kubeconfig", `${this.root}/kubeconfig`];
  }

  /** A node whose kubelet and API server are there. */
  static async start(options: NodeOptions): Promise<DraNode> {
    const node = new DraNode(options);
    await node.api.start();
    node.api.admit = admitted;
    const metadata = { name: nodeName, uid: crypto.randomUUID(), resourceVersion: "7" };
    node.api.others.set(`/api/v1/nodes/${nodeName}`, { apiVersion: "v1", kind: "Node", metadata });
    node.#writeKubeconfig();
    await node.kubelet.start();
    node.dra.start();
    return node;
  }

  /** The ResourceSlices of the node. */
  get slices(): readonly ResourceSlice[] {
    return this.api.objects.map((object) => resourceSlices.parse(object));
  }

  /** The ids of published devices in their order, those with a taint as "ID KEY". */
  get published(): string[] {
    return this.slices.flatMap(({ spec }) =>
      (spec.devices ?? []).map(({ attributes, taints = [] }) => {
        const id = attributes["k8s.cni.cncf.io/deviceID"];
        return [id && "string" in id ? id.string : "", ...taints.map(({ key }) => key)].join(" ");
      }),
    );
  }

  /** The ids of published devices that new pods can get. */
  get untainted(): string[] {
    return this.published.filter((each) => !each.includes(" "));
  }

  /** How many requests have written something. */
  get writes(): number {
    return this.api.requests.filter(({ method, query }) => method !== "GET" && !query.has("dryRun")).length;
  }

  /** A claim that the scheduler allocated these devices, and reserved for the pod NAME-pod. */
  claim(name: string, ...results: readonly AllocationResult[]): ClaimReference {
    const reference = { namespace: "default", name, uid: crypto.randomUUID() };
    const path = `/apis/resource.k8s.io/v1/namespaces/default/resourceclaims/${name}`;
    this.api.others.set(path, aResourceClaim(reference, results, `${name}-pod`));
    return reference;
  }

  /** The result for a device of this id, as the scheduler takes it from the slices. */
  result(request: string, id: string): AllocationResult {
    for (const { spec } of this.slices)
      for (const { name, attributes } of spec.devices ?? []) {
        const own = attributes["k8s.cni.cncf.io/deviceID"];
        if (own && "string" in own && own.string === id)
          return {
            request,
            driver: spec.driver,
            pool: spec.pool.name,
            device: name,
            adminAccess: false,
            shareId: null,
          };
      }
    throw new Error(`${id} is not published`);
  }

  /** Waits until these are published. */
  waitForPublished(...expected: readonly string[]): Promise<void> {
    return until(
      `${expected.join(", ")} are published`,
      () => this.published.toSorted().join() === expected.toSorted().join(),
      { within: 30_000, found: () => `${this.published.join(", ")}\n${this.plugin.log}` },
    );
  }

  override async close(): Promise<void> {
    await super.close();
    this.dra.stop();
    await this.api.stop();
  }

  #writeKubeconfig(): void {
    const ca = Buffer.from(this.api.authority.certificate).toString("base64");
    writeFileSync(
      `${this.root}/kubeconfig`,
      JSON.stringify({
        "current-context": "lab",
        clusters: [{ name: "lab", cluster: { server: this.api.url, "certificate-authority-data": ca } }],
        users: [{ name: "kubelet", user: { token: "secret-token" } }],
        contexts: [{ name: "lab", context: { cluster: "lab", user: "kubelet" } }],
      }),
    );
  }
}
