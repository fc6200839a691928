// What do kustomize and the API server make of a folder or a file? A Go program (kubernetes/main.go) builds each kustomization with
// kustomize's own library, decodes every object strictly and validates it with the API server's code.

import { join } from "node:path";
import type { KubernetesObject } from "../support/kubernetes.ts";
import { goProgram } from "./go-program.ts";

/** What was read of one path. */
export interface Reading {
  readonly path: string;
  readonly objects: readonly KubernetesObject[];
  readonly problems: readonly string[];
  /** What the "baseline" level of the Pod Security Standards forbids, in its own words. */
  readonly beyondBaseline: readonly string[];
}

export const deployments = join(import.meta.dir, "../../deployments");

const { path: program, missing } = goProgram("kubernetes");

/** What this machine lacks to read manifests, as a phrase; null when it lacks nothing. */
export const missingReader: string | null = missing;

/** The result of `kubectl apply` on a DaemonSet that was created by `kubectl create`; both are paths of JSON files. */
export function applied<T extends KubernetesObject>(current: string, changed: string): T {
  const { success, stdout, stderr } = Bun.spawnSync([program ?? "", "apply", current, changed], { stderr: "pipe" });
  if (!success) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as T;
}

/** Reads folders of kustomizations and YAML files; relative paths are those below deployments/. */
export function readManifests(...paths: readonly string[]): Reading[] {
  const { success, stdout, stderr } = Bun.spawnSync([program ?? "", ...paths], { cwd: deployments, stderr: "pipe" });
  if (!success) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as Reading[];
}
