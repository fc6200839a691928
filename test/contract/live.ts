// How does a test follow a plugin that runs on a changing node?

import type { FullStatus } from "../../src/telemetry/plugin-status.ts";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import { functionsChanged } from "../support/live.ts";
import { buildNode } from "../support/node.ts";
import type { NodePlan } from "../support/node-plan.ts";
import { host, type Plugin, TestNode } from "../support/plugin.ts";

export const modes = [["watcher"], ["legacy"]] as const;

/** What a running node is made of. */
export interface Running {
  /** A fixture's name, or a plan. */
  readonly node: NodePlan | string;
  /** The config file's value. */
  readonly config: unknown;
  /** The resources that the kubelet has a list of before the test begins. */
  readonly resources: readonly string[];
  readonly mode?: RegistrationMode;
  /** Further arguments; debug lines are written in any case. */
  readonly args?: readonly string[];
  /** For a tree of thousands of functions. */
  readonly inMemory?: boolean;
}

/** A node with its kubelet and its plugin, both at work. */
export async function running({
  node: plan,
  config,
  resources,
  mode = "watcher",
  args = [],
  inMemory = false,
}: Running): Promise<TestNode> {
  const entries = typeof plan === "string" ? host(plan) : buildNode(plan);
  const node = new TestNode({ entries, config, mode, inMemory });
  try {
    await node.start(resources, "-v=5", ...args);
    return node;
  } catch (error) {
    await node.close();
    throw error;
  }
}

/** The devices of a resource that the kubelet may hand out. */
export const healthy = ({ kubelet }: TestNode, resource: string): string[] =>
  [...kubelet.resource(resource).devices.values()].flatMap(({ ID, health }) => (health === "Healthy" ? [ID] : []));

/** All devices of a resource, healthy or not. */
export const listed = ({ kubelet }: TestNode, resource: string): string[] => [
  ...kubelet.resource(resource).devices.keys(),
];

/** Reloads the config and rescans the node, and waits until that is complete: earlier changes have taken effect then. */
export async function rescan(plugin: Plugin): Promise<void> {
  const from = plugin.lines.length;
  plugin.signal("SIGHUP");
  await plugin.waitForLine(/ scanned the node stale=\S*config/, from);
}

/** Rescans the functions as after a uevent, and waits until that is over. Unlike a reload it ends no exclusion. */
export async function rescanned({ root, plugin }: TestNode): Promise<void> {
  const from = plugin.lines.length;
  functionsChanged(root);
  await plugin.waitForLine(/ scanned the node stale=\S*functions/, from);
}

/** Sends a request to the plugin's socket, as the commands do. */
export const askPlugin = (
  node: TestNode,
  route: string,
  unix = `${node.root}/run/sriovdp/status.sock`,
  init: RequestInit = {},
) => fetch(`http://localhost${route}`, { ...init, unix });

export const statusOf = async (node: TestNode) => (await (await askPlugin(node, "/status")).json()) as FullStatus;

/** What shows that a resource was left alone: its registrations, streams and lists. */
export function touches({ kubelet }: TestNode, resource: string) {
  const { registrations, streams, lists, repeatedLists } = kubelet.resource(resource);
  return { registrations, streams, lists, repeatedLists };
}

/** The result of touches() for a resource that was registered once and has sent this many lists, each of them new. */
export const onceRegistered = (lists: number) => ({ registrations: 1, streams: 1, lists, repeatedLists: 0 });
