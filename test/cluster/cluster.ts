// What the tests have of the cluster that run.ts started: kubectl, commands on the node, and waiting for conditions.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { testWhere } from "../packaging/needs.ts";
import type { KubernetesObject } from "../support/kubernetes.ts";
import type { Ended } from "../support/run-program.ts";
import { kubectlIn } from "./kubectl.ts";
import { type Truthy, waitForValue, type Waiting } from "../support/wait-for.ts";
import { wakeUp } from "./wake-up.ts";

/** What run.ts says of the cluster. */
export interface ClusterFacts {
  /** The process in whose network namespace the control plane is. */
  readonly namespace: number;
  readonly kubernetes: string;
  readonly kubeconfig: string;
  /** The folder that the node has as /share. */
  readonly share: string;
  /** The name of the image under test; the node has it. */
  readonly imageName: string;
  /** The releases that were requested: v1.37.2; of containerd the first part. */
  readonly releases: { readonly kubernetes: string; readonly containerd: string };
  /** Whether the node's multus finds the devices of claims, as releases after 4.3.0 do (pkg/draclient). */
  readonly hasClaimMultus: boolean;
  /** Whether there is time for tests that take a quarter of an hour: somebody has named them. */
  readonly hasTime: boolean;
}

const text = process.env["SRIOVDP_CLUSTER"];
const given = text === undefined ? null : (JSON.parse(text) as ClusterFacts);
const why = process.env["SRIOVDP_NO_CLUSTER"] ?? "needs a cluster: bun test/cluster/run.ts";

/** The cluster; throws where there is none. */
export function facts(): ClusterFacts {
  if (given === null) throw new Error(why);
  return given;
}

/** Whether a cluster is there. */
export const hasCluster: boolean = given !== null;

/** The release of Kubernetes that the lab's go.mod names: v1.34.4. */
export const ownRelease = (): string => {
  const module = readFileSync(join(import.meta.dir, "../vm/kubernetes/go.mod"), "utf8");
  return /k8s\.io\/kubernetes (v\S+)/.exec(module)?.[1] ?? "";
};

/** The minor release of an executable of Kubernetes: 34 of v1.34.4. Without a version in its path, it is that of the lab's own. */
export const minorReleaseOf = (kubernetes: string): number => {
  const release = /kubernetes-(v1\.\d+)/.exec(kubernetes)?.[1] ?? ownRelease();
  return Number(release.split(".")[1]);
};

/** The cluster's minor release of Kubernetes. */
export const minorRelease = (): number => minorReleaseOf(facts().kubernetes);

/** A test that needs the cluster, and is skipped under its name without. */
export const clusterTest = (name: string, body: () => void | Promise<void>): void =>
  testWhere(given === null ? why : null, name, body);

/** A test for Kubernetes from 1.`minor` on, skipped under its name before. */
export const testFrom = (minor: number, name: string, body: () => void | Promise<void>): void =>
  given !== null && minorRelease() < minor
    ? testWhere(`needs Kubernetes 1.${minor}; this is 1.${minorRelease()}`, name, body)
    : clusterTest(name, body);

type Argument = string | { readonly stdin: string };

/** Runs kubectl; does not throw. */
export function attempt(...args: readonly Argument[]): Promise<Ended> {
  const { namespace, kubernetes, kubeconfig } = facts();
  return kubectlIn(namespace, kubernetes, kubeconfig)(...args);
}

/** Runs kubectl and returns what it prints; throws with its errors unless it succeeds. */
export async function kubectl(...args: readonly Argument[]): Promise<string> {
  const { status, stdout, stderr } = await attempt(...args);
  if (status !== 0) throw new Error(`kubectl ${args.filter((arg) => typeof arg === "string").join(" ")}: ${stderr}`);
  return stdout;
}

/** kubectl's answer as JSON. */
export const read = async <T>(...args: readonly string[]): Promise<T> =>
  JSON.parse(await kubectl("get", "--output=json", ...args)) as T;

/** Objects as text for kubectl. */
export const asText = (...items: readonly object[]): { readonly stdin: string } => ({
  stdin: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
});

/** Applies objects as a user does who is careful: on the server, and strictly. */
export const apply = (...objects: readonly object[]): Promise<string> =>
  kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename=-", asText(...objects));

/**
 * Waits until the condition returns something truthy, by default for two minutes, and polls slowly enough for the emulated machine:
 * kubectl takes a fifth of a second of a processor.
 */
export const waitFor = <T>(
  what: string,
  condition: () => T | Promise<T>,
  { seconds = 120, pace = 400, ...rest }: Partial<Waiting> = {},
): Promise<Truthy<T>> => waitForValue(what, condition, { seconds, pace, ...rest });

let commands = 0;

/** Runs a shell command on the node, through the share, and returns what it prints; throws unless it succeeds. */
export async function onNode(command: string): Promise<string> {
  const { share } = facts();
  const stem = join(share, "commands", `${process.pid}-${(commands += 1)}`);
  writeFileSync(`${stem}.new`, `${command}\n`);
  renameSync(`${stem}.new`, `${stem}.sh`);
  wakeUp(share);
  await waitFor(`the node runs ${command}`, () => existsSync(`${stem}.status`), { pace: 50 });
  const output = readFileSync(`${stem}.out`, "utf8");
  const status = Number(readFileSync(`${stem}.status`, "utf8"));
  if (status !== 0) throw new Error(`on the node: ${command}: status ${status}: ${output}`);
  return output.trim();
}

/** The node as the API server has it. */
export interface Node extends KubernetesObject {
  readonly status: {
    readonly capacity: Readonly<Record<string, string>>;
    readonly allocatable: Readonly<Record<string, string>>;
    readonly conditions: readonly { readonly type: string; readonly status: string }[];
    readonly nodeInfo: { readonly kubeletVersion: string; readonly containerRuntimeVersion: string };
  };
}

/** Counts of the pools' resources in a list of the node's: { intel_sriov_dpdk: 4 }. The kubelet keeps resources that it once had, with 0. */
export const resourcesOf = (list: Readonly<Record<string, string>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(list)
      .filter(([name]) => name.startsWith("intel.com/"))
      .map(([name, count]) => [name.replace("intel.com/", ""), Number(count)] as const)
      .filter(([, count]) => count > 0),
  );

/** Waits until the node has these resources to give, as many as said, and no others but those it has none of. */
export async function waitForAllocatable(wanted: Readonly<Record<string, number>>): Promise<void> {
  let last: Record<string, number> = {};
  await waitFor(
    `allocatable is ${JSON.stringify(wanted)}`,
    async () => {
      last = resourcesOf((await read<Node>("node", "lab")).status.allocatable);
      return Bun.deepEquals(last, wanted);
    },
    { found: () => last },
  );
}
