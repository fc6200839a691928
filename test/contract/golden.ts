// What do the kubelet, multus and the container runtime get of a pool, to the byte? One JSON file per node in golden/:
// its config, what is requested, and everything that must result. `bun test/contract/golden.ts NAME…` writes down what the
// executable gives now; read every line of the difference before you keep it.

import { lstatSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import type { RegistrationMode } from "../support/kubelet-view.ts";
import { host, TestNode } from "../support/plugin.ts";

/** What is expected of a node. */
export interface Golden {
  /** The fixture in test/hosts. */
  readonly host: string;
  readonly config: unknown;
  /** By resource name. A resource that must not be registered is null. */
  readonly pools: Readonly<Record<string, GoldenPool | null>>;
}

export interface GoldenPool {
  /** What ListAndWatch sends; everything is Healthy. */
  readonly list: readonly { readonly ID: string; readonly numaNode: number | null }[];
  /** Containers that are admitted one after the other. */
  readonly requests: readonly GoldenRequest[];
  /** The pool's file in /var/run/cdi with --use-cdi; null when there is none. */
  readonly cdi: { readonly file: string; readonly spec: unknown } | null;
}

/** What one container requests, and gets. */
export interface GoldenRequest {
  readonly ids: readonly string[];
  readonly envs: Readonly<Record<string, string>>;
  /** Without --use-cdi: "path", or "path on the node:path in the container" where they differ. All are "rw". */
  readonly devices: readonly string[];
  /** With --use-cdi. */
  readonly cdiDevices: readonly string[];
  /** Files in devinfo/dp by name; their mode is 0444. */
  readonly deviceInfo: Readonly<Record<string, string>>;
}

const folder = `${import.meta.dir}/golden`;

export const goldenNames = (): string[] =>
  readdirSync(folder)
    .flatMap((name) => (name.endsWith(".json") ? [name.slice(0, -5)] : []))
    .sort();

export const readGolden = (name: string): Golden =>
  JSON.parse(readFileSync(`${folder}/${name}.json`, "utf8")) as Golden;

/** What is seen of a node; what the other way of handing out devices would have shown is empty. */
export async function observe(golden: Golden, mode: RegistrationMode, useCdi: boolean): Promise<Golden> {
  await using node = new TestNode({ entries: host(golden.host), config: golden.config, mode });
  const { kubelet } = node;
  const resources = Object.entries(golden.pools).flatMap(([resource, pool]) => (pool ? [resource] : []));
  await node.start(resources, ...(useCdi ? ["--use-cdi"] : []));
  const pools: Record<string, GoldenPool | null> = {};
  for (const [resource, pool] of Object.entries(golden.pools)) {
    if (!kubelet.resources.includes(resource)) {
      pools[resource] = null;
      continue;
    }
    const list = [...kubelet.resource(resource).devices.values()].map(({ ID, health, topology }) => {
      if (health !== "Healthy") throw new Error(`${ID} is ${health}`);
      const [numaNode, ...others] = topology?.nodes ?? [];
      if (others.length > 0) throw new Error(`${ID} has several NUMA nodes`);
      return { ID, numaNode: numaNode?.ID ?? null };
    });
    const requests: GoldenRequest[] = [];
    for (const { ids } of pool?.requests ?? []) {
      const before = new Set(node.names(node.deviceInfoFolder));
      const answer = await kubelet.allocate(resource, ids);
      if (answer.mounts.length > 0) throw new Error("mounts are given");
      if (Object.keys(answer.annotations).length > 0) throw new Error("annotations are given");
      requests.push({
        ids,
        envs: answer.envs,
        devices: answer.devices.map(({ hostPath, containerPath, permissions }) => {
          if (permissions !== "rw") throw new Error(`${hostPath} is given ${permissions}`);
          return hostPath === containerPath ? hostPath : `${hostPath}:${containerPath}`;
        }),
        cdiDevices: answer.cdiDevices.map(({ name }) => name),
        deviceInfo: deviceInfoFiles(node, before),
      });
    }
    pools[resource] = { list, requests, cdi: cdiFile(node, resource) };
  }
  return { ...golden, pools };
}

function deviceInfoFiles(node: TestNode, before: ReadonlySet<string>): Record<string, string> {
  const written = node.names(node.deviceInfoFolder).filter((name) => !before.has(name));
  return Object.fromEntries(
    written.map((name) => {
      const path = `${node.deviceInfoFolder}/${name}`;
      if ((lstatSync(path).mode & 0o7777) !== 0o444) throw new Error(`the mode of ${name} is not 0444`);
      return [name, readFileSync(path, "utf8")];
    }),
  );
}

function cdiFile(node: TestNode, resource: string): GoldenPool["cdi"] {
  const [prefix = "", name = ""] = resource.split("/");
  const found = node
    .names(node.cdiFolder)
    .find((file) => file.startsWith(`sriov-dp-${prefix}-`) && file.endsWith(`-${name}.yaml`));
  if (found === undefined) return null;
  const path = `${node.cdiFolder}/${found}`;
  if ((lstatSync(path).mode & 0o7777) !== 0o644) throw new Error(`the mode of ${found} is not 0644`);
  return { file: found, spec: parseYaml(readFileSync(path, "utf8")) as unknown };
}

/** The part of a golden answer that is seen in one way of handing out devices. */
export function expected(golden: Golden, useCdi: boolean): Golden {
  const pools = Object.entries(golden.pools).map(([resource, pool]) => {
    if (!pool) return [resource, null] as const;
    const requests = pool.requests.map((request) => ({
      ...request,
      ...(useCdi ? { devices: [] } : { cdiDevices: [] }),
    }));
    return [resource, { ...pool, requests, cdi: useCdi ? pool.cdi : null }] as const;
  });
  return { ...golden, pools: Object.fromEntries(pools) };
}

/** Both ways together. */
async function writeDown(name: string): Promise<void> {
  const golden = readGolden(name);
  const plain = await observe(golden, "watcher", false);
  const cdi = await observe(golden, "watcher", true);
  const pools = Object.entries(plain.pools).map(([resource, pool]) => {
    const withCdi = cdi.pools[resource];
    if (!pool || !withCdi) return [resource, null] as const;
    const requests = pool.requests.map((request, index) => ({
      ...request,
      cdiDevices: withCdi.requests[index]?.cdiDevices ?? [],
    }));
    return [resource, { ...pool, requests, cdi: withCdi.cdi }] as const;
  });
  const whole: Golden = { ...golden, pools: Object.fromEntries(pools) };
  writeFileSync(`${folder}/${name}.json`, `${JSON.stringify(whole, null, 2)}\n`);
}

if (import.meta.main) for (const name of process.argv.slice(2)) await writeDown(name);
