// Which CDI specs are on the node? One file per pool, written before the kubelet is sent its devices. No two files ever
// name one device: readers refuse a device that two files of one kind name (pkg/cdi/cache.go).

import * as v from "valibot";
import { parse, stringify } from "yaml";
import { type CdiDevices, type CdiFile, cdiSpec, withoutDevices } from "../allocation/cdi.ts";
import type { DeviceNode } from "../allocation/contributions.ts";
import { messageOf } from "../text.ts";
import { cdiDeviceName, cdiFileName, cdiKind, isCdiFileName } from "../pools/names.ts";
import type { Pool, PoolSpec } from "../pools/pool.ts";
import { contentOf, ensureFolder, removeTemporaryFiles, removeFile, writeAtomic } from "../fs/atomic.ts";
import { namesIn } from "../fs/folder-names.ts";
import { revisionOf } from "../fs/identity.ts";

/** The specs of our pools in one folder. */
export class CdiFiles {
  readonly folder: string;
  readonly #files = new Map<string, CdiFile>();
  /** Which file on the node was read or written last under each name. */
  readonly #revisions = new Map<string, string | null>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Loads the specs that an earlier process left; returns the names of those that can't be read, which are removed. */
  load(): string[] {
    removeTemporaryFiles(this.folder, isCdiFileName);
    return namesIn(this.folder)
      .filter(isCdiFileName)
      .filter((name) => {
        const file = read(`${this.folder}/${name}`);
        if (file) this.#note(name, file);
        return file === null && removeFile(`${this.folder}/${name}`);
      });
  }

  /** The devices that the pool's spec has now. */
  devicesOf(spec: PoolSpec): CdiDevices {
    return this.#files.get(cdiFileName(spec))?.devices ?? new Map();
  }

  /**
   * Writes the nodes of these devices into the pool's spec; its other devices stay. Returns whether the file changed.
   * Throws when it can't, and leaves the spec as it was.
   */
  describe(spec: PoolSpec, nodes: ReadonlyMap<string, readonly DeviceNode[]>): boolean {
    const devices = new Map(this.devicesOf(spec));
    for (const [id, of] of nodes) {
      if (of.length > 0) devices.set(id, of);
      else devices.delete(id);
    }
    return this.#write(cdiFileName(spec), { kind: cdiKind(spec), devices });
  }

  /** Whether the pool's spec is in place as it was written, and has these nodes for these devices. */
  says(spec: PoolSpec, nodes: ReadonlyMap<string, readonly DeviceNode[]>): boolean {
    const devices = this.devicesOf(spec);
    const isSame = [...nodes].every(([id, of]) => Bun.deepEquals(devices.get(id) ?? [], of));
    return isSame && (devices.size === 0 || this.#isInPlace(cdiFileName(spec)));
  }

  /** Removes devices from every spec that is no longer their pool's, before that pool's names them. Returns the files. */
  withdraw(pools: readonly Pool[]): string[] {
    const homes = this.#homesIn(pools);
    return this.#reduce((file, kind, id) => (homes.get(`${kind}=${id}`) ?? file) === file);
  }

  /** Removes devices that no pool has any more from their specs, unless they are allocated. Returns the files. */
  prune(pools: readonly Pool[], isHeld: (file: string, id: string) => boolean): string[] {
    const homes = this.#homesIn(pools);
    return this.#reduce((file, kind, id) => homes.get(`${kind}=${id}`) === file || isHeld(file, id));
  }

  /** Writes specs of these pools again that were removed or replaced. Returns the files. */
  restore(specs: readonly PoolSpec[]): string[] {
    return specs.map(cdiFileName).filter((name) => {
      const file = this.#files.get(name);
      return file !== undefined && !this.#isInPlace(name) && this.#write(name, file);
    });
  }

  /** Removes the pool's spec. */
  remove(spec: PoolSpec): void {
    this.#write(cdiFileName(spec), { kind: cdiKind(spec), devices: new Map() });
  }

  /** The file that should name each device, by its fully-qualified name. */
  #homesIn(pools: readonly Pool[]): ReadonlyMap<string, string> {
    const named = this.#files.size === 0 ? [] : pools;
    return new Map(
      named.flatMap(({ spec, claims }) => [...claims.keys()].map((id) => [cdiDeviceName(spec, id), cdiFileName(spec)])),
    );
  }

  #reduce(stays: (file: string, kind: string, id: string) => boolean): string[] {
    const left = withoutDevices(this.#files, stays);
    const failures: unknown[] = [];
    // A file that can't be written does not keep the others from being written.
    for (const [name, file] of left) {
      try {
        this.#write(name, file);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new Error(failures.map(messageOf).join("; "), { cause: failures[0] });
    return [...left.keys()];
  }

  #note(name: string, file: CdiFile): void {
    this.#files.set(name, file);
    this.#revisions.set(name, revisionOf(`${this.folder}/${name}`));
  }

  #isInPlace(name: string): boolean {
    return revisionOf(`${this.folder}/${name}`) === this.#revisions.get(name);
  }

  #write(name: string, file: CdiFile): boolean {
    const path = `${this.folder}/${name}`;
    const spec = cdiSpec(file);
    if (!spec) {
      const isGone = removeFile(path);
      this.#files.delete(name);
      return isGone;
    }
    // YAML 1.1 quotes what its readers would take for a number in base 60, as "0000:03:02.1".
    const content = stringify(spec, { version: "1.1", aliasDuplicateObjects: false });
    const isNew = contentOf(path) !== content;
    if (isNew) {
      ensureFolder(this.folder);
      writeAtomic(path, content, 0o644);
    }
    this.#note(name, file);
    return isNew;
  }
}

/** Removes our specs from a folder in which they do not belong, as /etc/cdi; returns the names of the removed files. */
export const removeCdiSpecs = (folder: string): string[] =>
  namesIn(folder).filter((name) => isCdiFileName(name) && removeFile(`${folder}/${name}`));

/** What we, or the upstream plugin, write into a spec. */
const specSchema = v.object({
  kind: v.string(),
  devices: v.array(
    v.object({
      name: v.string(),
      containerEdits: v.object({
        deviceNodes: v.array(v.object({ path: v.string(), hostPath: v.optional(v.string()) })),
      }),
    }),
  ),
});

/** Reads a spec; null when it can't be parsed, or has another form than the plugin's. */
function read(path: string): CdiFile | null {
  try {
    const { kind, devices } = v.parse(specSchema, parse(contentOf(path) ?? ""));
    const nodesOf = ({ containerEdits }: (typeof devices)[number]) =>
      containerEdits.deviceNodes.map(({ path, hostPath = path }) => ({ hostPath, containerPath: path }));
    return { kind, devices: new Map(devices.map((device) => [device.name, nodesOf(device)])) };
  } catch {
    return null;
  }
}
