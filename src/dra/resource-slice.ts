// What is a ResourceSlice? The part of resource.k8s.io/v1 that we write, and read back. Pure.

import * as v from "valibot";
import type { Kind } from "../kube/api-client.ts";

const attributeSchema = v.union([
  v.object({ string: v.string() }),
  v.object({ int: v.number() }),
  v.object({ bool: v.boolean() }),
  // An attribute of a kind that we do not write.
  v.looseObject({}),
]);

const taintSchema = v.looseObject({
  key: v.string(),
  value: v.optional(v.string()),
  effect: v.string(),
  /** Set by the server where it is missing. */
  timeAdded: v.optional(v.string()),
});

const deviceSchema = v.looseObject({
  name: v.string(),
  attributes: v.optional(v.record(v.string(), attributeSchema), {}),
  taints: v.optional(v.array(taintSchema)),
});

const ownerSchema = v.looseObject({ apiVersion: v.string(), kind: v.string(), name: v.string(), uid: v.string() });

const sliceSchema = v.looseObject({
  apiVersion: v.literal("resource.k8s.io/v1"),
  kind: v.literal("ResourceSlice"),
  metadata: v.looseObject({
    name: v.string(),
    uid: v.optional(v.string()),
    resourceVersion: v.optional(v.string()),
    annotations: v.optional(v.record(v.string(), v.string())),
    ownerReferences: v.optional(v.array(ownerSchema)),
  }),
  spec: v.looseObject({
    driver: v.string(),
    nodeName: v.optional(v.string()),
    pool: v.looseObject({ name: v.string(), generation: v.number(), resourceSliceCount: v.number() }),
    devices: v.optional(v.array(deviceSchema)),
  }),
});

export type SliceTaint = v.InferOutput<typeof taintSchema>;
export type SliceDevice = v.InferOutput<typeof deviceSchema>;
export type ResourceSlice = v.InferOutput<typeof sliceSchema>;

/** How slices are read and written. */
export const resourceSlices: Kind<ResourceSlice> = {
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceSlice",
  plural: "resourceslices",
  parse: (value) => v.parse(sliceSchema, withoutNulls(value)),
};

/** JSON without the keys whose value is null: the API server sends `"devices": null` for a slice without devices. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(fields.map(([key, field]) => [key, withoutNulls(field)]));
}
