// What is a ResourceClaim? The part of resource.k8s.io/v1 that says which devices a pod was allocated. Pure.

import * as v from "valibot";
import type { AllocatedClaim } from "../allocation/claim.ts";
import type { Kind } from "../kube/api-client.ts";

const resultSchema = v.looseObject({
  request: v.string(),
  driver: v.string(),
  pool: v.string(),
  device: v.string(),
  adminAccess: v.optional(v.nullable(v.boolean())),
  shareID: v.optional(v.nullable(v.string())),
});

const allocationSchema = v.looseObject({
  devices: v.optional(v.looseObject({ results: v.optional(v.nullable(v.array(resultSchema))) })),
});

const claimSchema = v.looseObject({
  apiVersion: v.literal("resource.k8s.io/v1"),
  kind: v.literal("ResourceClaim"),
  metadata: v.looseObject({ name: v.string(), namespace: v.string(), uid: v.string() }),
  status: v.optional(
    v.looseObject({
      allocation: v.optional(allocationSchema),
      reservedFor: v.optional(v.nullable(v.array(v.unknown()))),
    }),
  ),
});

export type ResourceClaim = v.InferOutput<typeof claimSchema>;

/** How claims are read. */
export const resourceClaims: Kind<ResourceClaim> = {
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceClaim",
  plural: "resourceclaims",
  parse: (value) => v.parse(claimSchema, value),
};

const podSchema = v.looseObject({ resource: v.literal("pods"), name: v.string(), uid: v.string() });

/** What a claim was allocated, and which pods it is reserved for; null when it is not allocated. */
export function allocatedClaim({ metadata, status }: ResourceClaim): AllocatedClaim | null {
  const allocation = status?.allocation;
  if (!allocation) return null;
  const { uid, namespace, name } = metadata;
  const results = (allocation.devices?.results ?? []).map(
    ({ request, driver, pool, device, adminAccess, shareID }) => ({
      request,
      driver,
      pool,
      device,
      adminAccess: adminAccess ?? false,
      shareId: shareID ?? null,
    }),
  );
  const pods = (status.reservedFor ?? []).flatMap((user) =>
    v.is(podSchema, user) ? [{ name: user.name, uid: user.uid }] : [],
  );
  return { uid, namespace, name, results, pods };
}
