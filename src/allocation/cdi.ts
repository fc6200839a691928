// How is a device described to the container runtime? A Container Device Interface spec per pool
// (cncf-tags/container-device-interface SPEC.md): one CDI device per device that has device nodes.

import type { DeviceNode } from "./contributions.ts";

/** How the answer to Allocate names CDI devices: in a field of their own (KEP-4009), or by an annotation. */
export const cdiModes = ["cdi-devices", "annotations"] as const;
export type CdiMode = (typeof cdiModes)[number];

/** The CDI devices of a file by their names, each with its nodes, of which it has at least one. */
export type CdiDevices = ReadonlyMap<string, readonly DeviceNode[]>;

/** The content of a spec file. */
export interface CdiFile {
  readonly kind: string;
  readonly devices: CdiDevices;
}

/** A CDI spec, in the shape in which it is written. */
export interface CdiSpec {
  readonly cdiVersion: "0.5.0" | "0.6.0";
  readonly kind: string;
  readonly devices: readonly {
    readonly name: string;
    readonly containerEdits: {
      readonly deviceNodes: readonly {
        readonly path: string;
        readonly hostPath: string;
        readonly permissions: "rw";
      }[];
    };
  }[];
}

/**
 * The lowest version of the specification that has all that a file uses, for the oldest readers: hostPath, and names
 * that begin with a digit, came with 0.5.0, a dot in the class with 0.6.0 (pkg/cdi/version.go).
 */
const versionOf = (kind: string): CdiSpec["cdiVersion"] =>
  kind.slice(kind.indexOf("/")).includes(".") ? "0.6.0" : "0.5.0";

/**
 * Describes a pool, its devices in the order of their names; null when no device has a node.
 *
 * A device without nodes has no edits, and one with empty edits makes the whole spec invalid: it is left
 * out, and its Allocate answer names no CDI device. A spec without devices is invalid, too.
 */
export function cdiSpec({ kind, devices }: CdiFile): CdiSpec | null {
  const described = [...devices]
    .filter(([, nodes]) => nodes.length > 0)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, nodes]) => ({
      name,
      containerEdits: {
        deviceNodes: nodes.map(({ containerPath, hostPath }) => ({
          path: containerPath,
          hostPath,
          permissions: "rw" as const,
        })),
      },
    }));
  return described.length === 0 ? null : { cdiVersion: versionOf(kind), kind, devices: described };
}

/** The files that have devices which `stays` does not keep, without those; the other files are missing. */
export function withoutDevices(
  files: ReadonlyMap<string, CdiFile>,
  stays: (file: string, kind: string, id: string) => boolean,
): Map<string, CdiFile> {
  const left = new Map<string, CdiFile>();
  for (const [file, { kind, devices }] of files) {
    const kept = new Map([...devices].filter(([id]) => stays(file, kind, id)));
    if (kept.size < devices.size) left.set(file, { kind, devices: kept });
  }
  return left;
}
