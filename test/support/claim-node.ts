// A node on which claims are prepared: VFs in sysfs, pools of them, and a cluster whose claims a test allocates and removes.

import { afterEach, beforeEach } from "bun:test";
import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { PreparedClaims, type PreparedClaimsOptions } from "../../src/roles/dra/claim-calls.ts";
import type { AllocationResult, ClaimReference } from "../../src/allocation/claim.ts";
import { type ResourceClaim, resourceClaims } from "../../src/dra/resource-claim.ts";
import type { Pool } from "../../src/pools/pool.ts";
import { aPool, aVf, driver, node } from "./claims.ts";
import { removeTemporaryFolder, temporaryFolder } from "./plugin.ts";

/** A claim of the cluster as the API server gives it. */
export const aResourceClaim = (
  { uid, namespace, name }: ClaimReference,
  results: readonly AllocationResult[] | null,
  pod: string | null = null,
): ResourceClaim =>
  resourceClaims.parse({
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceClaim",
    metadata: { uid, namespace, name },
    ...(results && {
      status: {
        ...(pod !== null && { reservedFor: [{ resource: "pods", name: pod, uid: `uid-of-${pod}` }] }),
        allocation: {
          devices: {
            results: results.map(({ shareId, adminAccess, ...result }) => ({
              ...result,
              ...(adminAccess && { adminAccess }),
              ...(shareId !== null && { shareID: shareId }),
            })),
          },
        },
      },
    }),
  });

/** A claim with a UID of its own. */
export const aClaimReference = (name: string): ClaimReference => ({
  namespace: "default",
  name,
  uid: crypto.randomUUID(),
});

/** Never ends a call. */
export const forever = (): AbortSignal => new AbortController().signal;

/** The node of each test of the calling file. */
export class ClaimNode {
  root = "";
  /** VFs 0 to 3 in intel.com/net; 4 and 5, which vfio-pci drives, in intel.com/dpdk with a value that is secret. */
  pools: readonly Pool[] = [];
  /** The claims of the cluster by "NAMESPACE/NAME". */
  readonly cluster = new Map<string, ResourceClaim>();
  /** What is done before a claim is given to who reads it. */
  reading: (reference: ClaimReference, signal: AbortSignal) => Promise<void> = () => Promise.resolve();
  /** Pods that have devices from the device plugin, by id. */
  readonly held = new Map<string, string>();
  /** Lines of the log: "LEVEL MESSAGE FIELDS". */
  logged: string[] = [];
  changes = 0;
  readonly #all: PreparedClaims[] = [];

  constructor() {
    beforeEach(() => {
      this.root = temporaryFolder();
      this.logged = [];
      this.changes = 0;
      this.cluster.clear();
      this.held.clear();
      this.reading = () => Promise.resolve();
      this.pools = [
        aPool("intel.com/net", [aVf(0), aVf(1), aVf(2), aVf(3)]),
        aPool("intel.com/dpdk", [aVf(4, { driver: "vfio-pci" }), aVf(5, { driver: "vfio-pci" })], {
          additionalInfo: { "*": { token: "secret" } },
        }),
      ];
      for (let index = 0; index < 6; index++) this.addFunction(index);
    });
    afterEach(() => {
      for (const claims of this.#all.splice(0)) claims.close();
      removeTemporaryFolder(this.root);
    });
  }

  /** Where a function's folder in sysfs is; those that vfio-pci drives are in the IOMMU group of their index. */
  addFunction(index: number): void {
    const folder = `${this.root}/sys/bus/pci/devices/${aVf(index).id}`;
    mkdirSync(folder, { recursive: true });
    symlinkSync(`../../../../kernel/iommu_groups/${index}`, `${folder}/iommu_group`);
  }

  get cdi(): string {
    return `${this.root}/var/run/cdi`;
  }

  get deviceInfo(): string {
    return `${this.root}/var/run/k8s.cni.cncf.io/devinfo/dp`;
  }

  /** The path of a claim's spec. */
  specOf = ({ uid }: ClaimReference): string => `${this.cdi}/${driver}-claim_${uid}.json`;

  /** The files of a folder that are not hidden. */
  filesIn(folder: string): string[] {
    try {
      return readdirSync(folder)
        .filter((name) => !name.startsWith("."))
        .toSorted();
    } catch {
      return [];
    }
  }

  /** Allocates devices to a claim of the cluster. */
  allocate(reference: ClaimReference, ...results: readonly AllocationResult[]): ClaimReference {
    this.cluster.set(`${reference.namespace}/${reference.name}`, aResourceClaim(reference, results));
    return reference;
  }

  /** What a process of ours that starts now has of claims. */
  start(own: Partial<PreparedClaimsOptions> = {}): PreparedClaims {
    const write =
      (level: string) =>
      (message: string, fields = {}) =>
        void this.logged.push(`${level} ${message} ${JSON.stringify(fields)}`);
    const claims = new PreparedClaims(
      {
        root: this.root,
        driver,
        node,
        pools: () => this.pools,
        heldElsewhere: (id) => this.held.get(id) ?? null,
        readClaim: async (reference, signal) => {
          await this.reading(reference, signal);
          return this.cluster.get(`${reference.namespace}/${reference.name}`) ?? null;
        },
        mayPrepare: () => Promise.resolve(),
        changed: () => this.changes++,
        releaseAfter: 0,
        podsEndWithin: 0,
        ...own,
      },
      { info: write("info"), warn: write("warn"), error: write("error"), debug: write("debug") },
    );
    this.#all.push(claims);
    claims.start();
    return claims;
  }
}
