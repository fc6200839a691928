// Which CDI specs are on the node? One file a pool, written before the kubelet hears of its devices.

import { existsSync } from "node:fs";
import { stringify } from "yaml";
import { type CdiSpec, cdiFilePrefix } from "../allocation/cdi.ts";
import { contentOf, ensureFolder, removeAbandoned, removeFile, writeAtomic } from "./atomic.ts";
import { namesIn } from "./device-info-files.ts";

/** Writes a spec, unless it stands there already; a null spec removes the file. Tells whether anything changed. */
export function writeCdiSpec(folder: string, name: string, spec: CdiSpec | null): boolean {
  const path = `${folder}/${name}`;
  if (!spec) return removeFile(path);
  const before = contentOf(path);
  // YAML 1.1 quotes what its readers would take for a number in base 60, as "0000:03:02.1".
  const content = stringify(spec, { version: "1.1", aliasDuplicateObjects: false });
  if (before === content) return false;
  ensureFolder(folder);
  writeAtomic(path, content, 0o644);
  return true;
}

/** Removes our specs that `keep` does not name; gives the names of the removed. */
export function pruneCdiSpecs(folder: string, keep: ReadonlySet<string>): string[] {
  if (existsSync(folder)) removeAbandoned(folder, (name) => name.startsWith(cdiFilePrefix));
  const stale = namesIn(folder).filter((name) => name.startsWith(cdiFilePrefix) && !keep.has(name));
  return stale.filter((name) => removeFile(`${folder}/${name}`));
}
