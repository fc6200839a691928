// What is to be done when slices can't be read or written? The error's own sentence, and the rule of RBAC that is missing. Pure.

import type { KubeError } from "../kube/errors.ts";

/** What was tried. */
export type PublishingStep = "watch" | "create" | "update" | "delete" | "node" | "taints";

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const slices = (...verbs: readonly string[]): Rule => ({
  apiGroups: ["resource.k8s.io"],
  resources: ["resourceslices"],
  verbs,
});

/** The right that each step requires. */
const rules: Readonly<Record<PublishingStep, Rule>> = {
  watch: slices("list", "watch"),
  create: slices("create"),
  update: slices("update"),
  delete: slices("delete"),
  node: { apiGroups: [""], resources: ["nodes"], verbs: ["get"] },
  taints: slices("create"),
};

/** The sentence of a failure, with what to do about it. */
export function publishingProblem(
  step: PublishingStep,
  { kind, message }: Pick<KubeError, "kind" | "message">,
): string {
  if (kind === "forbidden") return `${message}; the rule is ${JSON.stringify(rules[step])}`;
  if (kind === "alreadyExists")
    return `${message}; if it persists, that ResourceSlice is another node's or driver's: delete it`;
  if (step === "node" && kind === "notFound") return `${message}; check that --node-name is the name of the Node`;
  return message;
}
