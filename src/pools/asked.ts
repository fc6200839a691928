// Which costly facts do the pools need? Everything else is read anyway.

import type { PoolSpec } from "./pool.ts";

/** Facts that are read only when some pool asks for them: they cost firmware commands or large dumps. */
export interface Asked {
  readonly ddpProfiles: boolean;
  readonly enableRdma: boolean;
}

export const askedBy = (specs: readonly PoolSpec[]): Asked => ({
  ddpProfiles: specs.some(({ selectors }) => selectors.some((wanted) => (wanted.ddpProfiles?.length ?? 0) > 0)),
  enableRdma: specs.some(({ selectors }) => selectors.some((wanted) => wanted.isRdma === true)),
});
