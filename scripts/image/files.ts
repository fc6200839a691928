// What is in the image? One list, for the OCI archive and for the Dockerfile: the executable, the few files of glibc that it needs, a user
// database of one user, and licenses. No shell and no package tool.

import { type Architecture, architectures } from "../build/architectures.ts";
import type { Glibc } from "./glibc.ts";

/** A file, folder (its path ends with a slash) or symbolic link of the image; owned by root. */
export type Entry = { readonly path: string } & (
  | { readonly content: Uint8Array | string; readonly mode: number }
  | { readonly link: string }
  | { readonly folder: true; readonly mode: number }
);

/** What goes in. */
export interface Parts {
  readonly architecture: Architecture;
  readonly executable: Uint8Array;
  readonly glibc: Glibc;
  /** License and notices by file name. */
  readonly documents: ReadonlyMap<string, Uint8Array | string>;
}

/** The image's layers from the lowest to the highest: what rarely changes, and what each release brings. Parents before children, then by name. */
export const layersOf = (parts: Parts): { readonly glibc: readonly Entry[]; readonly sriovdp: readonly Entry[] } => ({
  glibc: inOrder(system(parts)),
  sriovdp: inOrder(program(parts)),
});

function system({ architecture, glibc }: Parts): Entry[] {
  const { triplet, loader } = architectures[architecture];
  const folder = `usr/lib/${triplet}`;
  return [
    // As in Debian: /lib is a link, and so the loader's path, which is written in every executable, leads to usr.
    { path: "lib", link: "usr/lib" },
    ...(loader.startsWith("lib64/") ? [{ path: "lib64", link: "usr/lib64" }] : []),
    ...[...glibc.libraries].map(([name, content]) => ({ path: `${folder}/${name}`, content, mode: 0o755 })),
    {
      path: `usr/${loader}`,
      link: `${loader.startsWith("lib64/") ? `../lib/${triplet}` : triplet}/${loader.replace(/^.*\//, "")}`,
    },
    { path: "usr/share/doc/libc6/copyright", content: glibc.copyright, mode: 0o644 },
    // Scanners look up the advisories of Debian's packages by these two.
    { path: "var/lib/dpkg/status.d/libc6", content: glibc.control, mode: 0o644 },
    {
      path: "etc/os-release",
      content: `PRETTY_NAME="sriovdp on Debian's glibc"\nNAME="sriovdp"\nID="debian"\nVERSION_ID="${glibc.release}"\n`,
      mode: 0o644,
    },
    { path: "etc/passwd", content: "root:x:0:0:root:/:/usr/sbin/nologin\n", mode: 0o644 },
    { path: "etc/group", content: "root:x:0:\n", mode: 0o644 },
    { path: "tmp/", folder: true, mode: 0o1777 },
    // Manifests mount below /var/run or below /run: it is the same.
    { path: "run/", folder: true, mode: 0o755 },
    { path: "var/run", link: "../run" },
  ];
}

function program({ executable, documents }: Parts): Entry[] {
  return [
    { path: "usr/bin/sriovdp", content: executable, mode: 0o755 },
    // What manifests for the upstream plugin's image name as their command.
    { path: "entrypoint.sh", link: "usr/bin/sriovdp" },
    ...[...documents].map(([name, content]) => ({ path: `usr/share/doc/sriovdp/${name}`, content, mode: 0o644 })),
  ];
}

/** Adds the folders of the entries, and sorts by path. */
export function inOrder(entries: readonly Entry[]): Entry[] {
  const folders = new Map<string, Entry>();
  for (const { path } of entries) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      const folder = path.slice(0, at + 1);
      folders.set(folder, { path: folder, folder: true, mode: 0o755 });
    }
  }
  for (const entry of entries) folders.delete(entry.path);
  return [...folders.values(), ...entries].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}
