// Which costly facts do the pools need? Everything else is read anyway.

import type { OptionalFacts } from "../host/scan.ts";
import type { PoolSpec } from "./pool.ts";

/** The optional facts that the pools' selector objects need. */
export const optionalFactsOf = (specs: readonly PoolSpec[]): OptionalFacts => ({
  ddpProfiles: specs.some(({ selectors }) =>
    selectors.some((selectorObject) => (selectorObject.ddpProfiles?.length ?? 0) > 0),
  ),
  enableRdma: specs.some(({ selectors }) => selectors.some((selectorObject) => selectorObject.isRdma === true)),
  vhostNet: specs.some(({ selectors }) => selectors.some((selectorObject) => selectorObject.needVhostNet === true)),
});
