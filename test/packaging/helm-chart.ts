// What does Helm itself make of the chart? It is given values on standard input, and a home that does not exist: nothing of the user's is read.

import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KubernetesObject, objectsOf } from "../support/kubernetes.ts";
import { goProgram } from "./go-program.ts";
import type { Values } from "./helm-sites.ts";
import { deployments, missingReader } from "./manifest-reader.ts";

export const chart = join(deployments, "helm/sriovdp");
const { path, missing: missingHelm } = goProgram("helm", { package: "helm.sh/helm/v4/cmd/helm" });

/** Helm's executable. */
export const helm = path ?? "helm";

/** What this machine lacks for Helm or for reading what it prints, as a phrase; null when it lacks nothing. */
export const missing: string | null = missingHelm ?? missingReader;

/** Values for a cluster whose pools are there. */
export const existing = { existingConfigMap: "sriovdp-config" };

/** Runs helm with values to its end. */
export function run(values: Values, ...args: readonly string[]): { status: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([helm, ...args, "--values", "-"], {
    stdin: Buffer.from(JSON.stringify(values)),
    cwd: tmpdir(),
    env: { HOME: "/nonexistent", PATH: process.env["PATH"] ?? "" },
    stdout: "pipe",
    stderr: "pipe",
  });
  return { status: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** The chart's objects as text; throws what Helm says. */
export function template(values: Values, ...args: readonly string[]): string {
  const { status, stdout, stderr } = run(values, "template", "test", chart, "--namespace", "kube-system", ...args);
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** The chart's objects. */
export const render = (values: Values, ...args: readonly string[]): KubernetesObject[] =>
  objectsOf(template(values, ...args));
