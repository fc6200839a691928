// What do multus and CNIs find about the devices that pods were given? The device-info files on the node, kept for as long
// as a pod holds the device, also of pools that left the config.

import { deviceInfoFolder } from "../../host/node-paths.ts";
import type { DeviceInfoFile } from "../../allocation/device-info.ts";
import { pruneDeviceInfo, writeDeviceInfo } from "../../files/device-info-files.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import type { Log } from "../../process/log.ts";
import { messageOf } from "../../text.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";

/** The device-info files of all pools. */
export class DeviceInfo {
  readonly #folder: string;
  readonly #podAllocations: PodAllocations;
  readonly #claimed: () => ReadonlySet<string>;
  readonly #log: Log;
  /** Pools that left the config while pods held devices of them, with just these. */
  readonly #retired = new Map<string, Pool>();

  /** `root` goes before every path of the node; `claimed` gives the ids of devices that claims of DRA have: their files go with them. */
  constructor(root: string, podAllocations: PodAllocations, claimed: () => ReadonlySet<string>, log: Log) {
    this.#folder = deviceInfoFolder(root);
    this.#podAllocations = podAllocations;
    this.#claimed = claimed;
    this.#log = log;
  }

  /** Writes the files of an answer to Allocate; throws when it can't. */
  write(files: readonly DeviceInfoFile[]): void {
    writeDeviceInfo(this.#folder, files);
  }

  /** Removes the resource's files, but not those of devices that pods hold or are about to. */
  prune(resource: string): void {
    try {
      const claimed = this.#claimed();
      const isKept = (id: string) => this.#podAllocations.mayHold(resource, id) || claimed.has(id);
      pruneDeviceInfo(this.#folder, resource, isKept);
    } catch (error) {
      this.#log.warn("cannot remove stale device-info files", { resource, reason: messageOf(error) });
    }
  }

  /** A pool is served (again): only files that an earlier process left are removed. */
  begin(resource: string): void {
    this.#retired.delete(resource);
    this.prune(resource);
  }

  /** The pool left the config: its files go, but for those of devices that pods hold, which go when those end. */
  retire(pool: Pool): void {
    this.#retired.set(pool.spec.resource, pool);
    this.revise();
  }

  /** Leaves of each retired pool only the files of what pods hold by now. */
  revise(): void {
    for (const [resource, pool] of this.#retired) {
      const claims = new Map([...pool.claims].filter(([id]) => this.#podAllocations.mayHold(resource, id)));
      if (claims.size > 0 && claims.size === pool.claims.size) continue;
      this.prune(resource);
      if (claims.size === 0) this.#retired.delete(resource);
      else this.#retired.set(resource, { ...pool, claims });
    }
  }

  /** The pools that left the config and still have files. */
  get retired(): readonly PoolSpec[] {
    return [...this.#retired.values()].map(({ spec }) => spec);
  }
}
