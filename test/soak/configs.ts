// Which configs does a node get in its life? Random ones, written in all the ways in which people and controllers write them.

import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { TestNode } from "../support/plugin.ts";
import type { Random } from "../support/random.ts";
import { type Entry, resourceOf } from "./truth.ts";
import { mostVfs, pfs } from "./world.ts";

/** Entries that overlap by chance: the first that selects a device gets it. */
export function someConfig(random: Random): Entry[] {
  const names = ["a", "b", "c", "d", "e", "f", "g", "h"].filter(() => !random.once(5));
  return names.map((name) => {
    const first = random.below(mostVfs);
    return {
      name,
      pf: random.of(pfs).name,
      first,
      last: random.between(first, mostVfs - 1),
      drivers: random.of([["iavf"], ["vfio-pci"], ["iavf", "vfio-pci"]] as const),
    };
  });
}

export const configText = (entries: readonly Entry[]): string =>
  JSON.stringify({
    resourceList: entries.map(({ name, pf, first, last, drivers: driverNames }) => ({
      resourceName: name,
      selectors: [{ pfNames: [`${pf}#${first}-${last}`], drivers: driverNames }],
    })),
  });

/** Writes the file in place, by rename, or as a ConfigMap's volume does. */
export function writeConfig(node: TestNode, text: string, random: Random): void {
  const folder = dirname(node.configFile);
  switch (random.of(["in place", "by rename", "as a ConfigMap"] as const)) {
    case "in place":
      rmSync(node.configFile, { force: true });
      writeFileSync(node.configFile, text);
      return;
    case "by rename":
      writeFileSync(`${folder}/.new`, text);
      renameSync(`${folder}/.new`, node.configFile);
      return;
    case "as a ConfigMap": {
      const version = `${folder}/..version-${random.below(2 ** 31)}`;
      mkdirSync(version);
      writeFileSync(`${version}/config.json`, text);
      symlinkSync(version, `${folder}/..data_tmp`);
      renameSync(`${folder}/..data_tmp`, `${folder}/..data`);
      rmSync(node.configFile, { force: true });
      symlinkSync("..data/config.json", node.configFile);
      for (const name of node.names(folder)) {
        if (name.startsWith("..version-") && `${folder}/${name}` !== version)
          rmSync(`${folder}/${name}`, { recursive: true });
      }
    }
  }
}

export const resourcesOf = (entries: readonly Entry[]): string[] => entries.map(({ name }) => resourceOf(name));
