// The publisher's requests to the API server besides its watch: one function each. All reject with KubeError.

import type { Access } from "../../kube/access.ts";
import {
  createObject,
  deleteObject,
  getObject,
  type Kind,
  type KubeObject,
  listObjects,
  updateObject,
  validateObject,
} from "../../kube/api-client.ts";
import { KubeError } from "../../kube/errors.ts";
import type { SliceOwner } from "../found-slices.ts";
import { type ResourceSlice, resourceSlices } from "../resource-slice.ts";
import type { SliceContext, SliceWrite } from "../slices.ts";
import { isTainted, taintProbe } from "../taint-support.ts";

interface Node extends KubeObject {
  readonly metadata: KubeObject["metadata"] & { readonly uid: string };
}

const nodes: Kind<Node> = {
  apiVersion: "v1",
  kind: "Node",
  plural: "nodes",
  parse: (value) => {
    const node = value as Node;
    if (typeof node?.metadata?.name !== "string" || typeof node.metadata.uid !== "string" || node.metadata.uid === "")
      throw new Error("not a Node with a UID");
    return node;
  },
};

/** The Node object that slices belong to. */
export async function readNode(access: Access, name: string, signal: AbortSignal): Promise<SliceContext["node"]> {
  const { metadata } = await getObject(access, nodes, { name }, signal);
  return { name, uid: metadata.uid };
}

/** Writes a slice; gives it as the API server has it then, null when it is deleted. */
export async function writeSlice(
  access: Access,
  { action, slice }: SliceWrite,
  signal: AbortSignal,
): Promise<ResourceSlice | null> {
  if (action === "create") return answerTo(slice, await createObject(access, resourceSlices, slice, signal));
  if (action === "update") return answerTo(slice, await updateObject(access, resourceSlices, slice, signal));
  const { name, uid = "" } = slice.metadata;
  try {
    await deleteObject(access, resourceSlices, { name, uid }, signal);
  } catch (error) {
    if (!(error instanceof KubeError && error.kind === "notFound")) throw error;
  }
  return null;
}

/** Which slices are ours: what the kubelet's own identity may list, too (plugin/pkg/auth/authorizer/node). */
export const sliceSelector = ({ driver, node }: SliceOwner): string => `spec.nodeName=${node},spec.driver=${driver}`;

/** Reads one of the driver's slices, by a list: no further right is needed. Null when there is none of this name. */
export async function readSlice(
  access: Access,
  owner: SliceOwner,
  name: string,
  signal: AbortSignal,
): Promise<ResourceSlice | null> {
  const fieldSelector = `${sliceSelector(owner)},metadata.name=${name}`;
  const { items } = await listObjects(access, resourceSlices, { fieldSelector }, signal);
  return items.find(({ metadata }) => metadata.name === name) ?? null;
}

/** The answer to a write; throws KubeError when it is about something else. */
function answerTo({ metadata: { name }, spec }: ResourceSlice, answer: ResourceSlice): ResourceSlice {
  const { driver, nodeName, pool } = answer.spec;
  if (driver === spec.driver && nodeName === spec.nodeName && pool.name === spec.pool.name) return answer;
  throw new KubeError("malformed", `the answer to a write of ${name} is not of its driver, node and pool`);
}

/** Whether the API server keeps taints. One that refuses the probe counts as one that does not. */
export async function keepsTaints(
  access: Access,
  context: Pick<SliceContext, "driver" | "node">,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return isTainted(await validateObject(access, resourceSlices, taintProbe(context), signal));
  } catch (error) {
    if (error instanceof KubeError && error.kind === "invalid") return false;
    throw error;
  }
}
