// How do pods get the devices of a node's pools? In one of two roles: from a device plugin of the kubelet, or from a driver of Dynamic Resource
// Allocation. The agent scans and assigns in the same way for both.

import type { RegistrationMode } from "../kubelet/kubelet-paths.ts";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import type { Retention } from "../pools/retention.ts";
import type { Offer } from "../process/systemd.ts";
import type { DraStatus, Offered } from "../telemetry/plugin-status.ts";

/** The names of the roles, as --allocator has them. */
export const allocators = ["device-plugin", "dra"] as const;
export type Allocator = (typeof allocators)[number];

/** The pod, or the claim, that keeps a device from all others, and the resource under which it has the device. */
export type Holder = Pick<Retention, "resource" | "pod">;

/** What serves the pools that the agent assigns. */
export interface Role {
  /** The pools as they are served, by resource. */
  readonly pools: ReadonlyMap<string, Pool>;
  /** Since when the kubelet has had each resource's list, in milliseconds since 1970; resources whose list it does not have are missing. */
  readonly connectedSince: ReadonlyMap<string, number>;
  /**
   * Devices that are prepared for claims of DRA, by id. Such a device can only be in the pool of its resource; without a pool of that name it is
   * in none.
   */
  readonly prepared: ReadonlyMap<string, Holder>;
  /** The numbers of what pods are offered. */
  readonly offer: Omit<Offer, "configRejected">;
  /** The DRA driver; null in the other role. */
  readonly dra: DraStatus | null;
  /** A configured pool for status; `served` is null for one that is not served. */
  offered(spec: PoolSpec): Offered;
  /** Devices that are prepared for claims of DRA now. */
  claimed(): readonly AllocatedDevice[];
  /** Takes over what an earlier process left on the node; `prefixes` are those of its resources. */
  begin(mode: RegistrationMode, prefixes: readonly string[]): Promise<void>;
  /** Serves these pools from now on; returns how many changed. With `isRescan`, files that were removed are restored. */
  apply(pools: readonly Pool[], isRescan: boolean, isClosed: () => boolean): Promise<number>;
  /** Checks what depends on the kubelet's folders, after something changed in them. */
  checkSockets(): void;
  /** Removes the files of pools that are not served. */
  tidyUnserved(specs: readonly PoolSpec[]): void;
  /** Ends all servers, after files that are no longer needed were removed. */
  close(specs: readonly PoolSpec[]): Promise<void>;
}
