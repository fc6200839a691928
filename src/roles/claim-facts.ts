// Which device nodes does a claimed device have right now? Read for the claim's own selectors and its pool's options.

import { contribute, type DeviceNode, nodesOf } from "../allocation/contributions.ts";
import { type AllocationFacts, readAllocationFacts } from "../host/allocation-facts.ts";
import type { Claim, PoolSpec } from "../pools/pool.ts";

/** Reads all that a container may be given of a claim's device; throws when its function has left. `root` goes before every path of the node. */
export const readClaimFacts = (
  root: string,
  { device, selectorObject }: Claim,
  { iommufd }: PoolSpec,
): AllocationFacts =>
  readAllocationFacts(root, device, {
    rdma: selectorObject.isRdma === true,
    vhostNet: selectorObject.needVhostNet === true,
    iommufd,
  });

/** Reads the device nodes that Allocate would give for a claim now; throws when its function has left. */
export const readClaimNodes = (root: string, claim: Claim, spec: PoolSpec): DeviceNode[] =>
  nodesOf([contribute({ claim, facts: readClaimFacts(root, claim, spec), spec })]);
