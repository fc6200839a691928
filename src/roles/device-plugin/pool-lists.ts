// Which list is the kubelet sent of a pool? All its devices, or those that fit when there are too many.

import type { Device } from "../../kubelet/api/deviceplugin.ts";
import { deviceList, truncateToBytes } from "../../kubelet/device-list.ts";
import type { PodAllocations } from "../../kubelet/pod-allocations.ts";
import { limits } from "../../limits.ts";
import type { Pool } from "../../pools/pool.ts";
import type { Log } from "../../process/log.ts";

/** The lists of all pools. */
export class PoolLists {
  readonly #podAllocations: PodAllocations;
  readonly #log: Log;
  readonly #oversized = new Set<string>();

  constructor(podAllocations: PodAllocations, log: Log) {
    this.#podAllocations = podAllocations;
    this.#log = log;
  }

  /** The pool's list; of one that is too long, devices that pods hold come first, then those that were `listed` before. */
  of(pool: Pool, listed: ReadonlySet<string>): readonly Device[] {
    const { resource } = pool.spec;
    const all = deviceList(pool);
    const list = truncateToBytes(all, limits.listBytes.max, (id) =>
      this.#podAllocations.holds(resource, id) ? 0 : listed.has(id) ? 1 : 2,
    );
    if (list.length === all.length) this.#oversized.delete(resource);
    else if (!this.#oversized.has(resource)) {
      this.#oversized.add(resource);
      const fields = { resource, devices: all.length, offered: list.length };
      this.#log.error("the pool has more devices than a list can hold; split it", fields);
    }
    return list;
  }
}
