// How does the plugin see a claim as it is now? By a get from the API server, which the kubelet's own identity and our role may do.

import type { ClaimReference } from "../../allocation/claim.ts";
import { type ResourceClaim, resourceClaims } from "../../dra/resource-claim.ts";
import type { Access } from "../../kube/access.ts";
import { getObject } from "../../kube/api-client.ts";
import { KubeError } from "../../kube/errors.ts";

/** Reads the claim of this name, whatever its UID; null when it does not exist. Rejects when it can't be read. */
export type ClaimReader = (claim: ClaimReference, signal: AbortSignal) => Promise<ResourceClaim | null>;

/** Reads claims from the API server. */
export const claimReader =
  (access: Access): ClaimReader =>
  async ({ namespace, name }, signal) => {
    try {
      return await getObject(access, resourceClaims, { namespace, name }, signal);
    } catch (error) {
      if (error instanceof KubeError && error.kind === "notFound") return null;
      throw error;
    }
  };

/**
 * Whether reading a claim failed because no pod of this node has it any more. The kubelet's own identity may read the claims of its pods
 * alone; a claim that is gone is forbidden to it like any other (kubernetes plugin/pkg/auth/authorizer/node/node_authorizer.go
 * authorizeGet). To any other identity a forbidden claim says nothing: it may be in use.
 */
export const isUnrelatedClaim = (error: unknown): boolean =>
  error instanceof KubeError && error.kind === "forbidden" && error.message.includes('User "system:node:');
