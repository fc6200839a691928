// How is a device named and described to the container runtime? A Container Device Interface spec a pool
// (cncf-tags/container-device-interface SPEC.md): one CDI device a device that has device nodes.

import { deviceTypes } from "../pools/device-types.ts";
import type { PoolSpec } from "../pools/pool.ts";
import type { DeviceNode } from "./contributions.ts";

/** How the kubelet is told of a container's CDI devices: in a field of their own (KEP-4009), or by an annotation. */
export const cdiModes = ["cdi-devices", "annotations"] as const;
export type CdiMode = (typeof cdiModes)[number];

type Named = Pick<PoolSpec, "prefix" | "name" | "deviceType">;

/** The kind "<prefix>/<class>" of a pool's CDI devices. */
export const cdiKind = ({ prefix, deviceType }: Omit<Named, "name">): string =>
  `${prefix}/${deviceTypes[deviceType].cdiClass}`;

/** Every file of ours starts so, in whichever pool. */
export const cdiFilePrefix = "sriov-dp-";

/** The spec file's name; a "/" can't stand in it. */
export const cdiFileName = (spec: Named): string =>
  `${cdiFilePrefix}${cdiKind(spec).replaceAll("/", "-")}-${spec.name}.yaml`;

/** The names that the spec file of a resource can have: one a device type, for a pool that is configured no more. */
export function cdiFileNames(resource: string): string[] {
  const [prefix = "", name = ""] = resource.split("/");
  return Object.keys(deviceTypes).map((deviceType) =>
    cdiFileName({ prefix, name, deviceType: deviceType as PoolSpec["deviceType"] }),
  );
}

/** The fully-qualified name of a CDI device. */
export const cdiDeviceName = (spec: Named, id: string): string => `${cdiKind(spec)}=${id}`;

/** How long the part of an annotation's key behind "cdi.k8s.io/" may be (pkg/cdi/annotations.go AnnotationKey). */
const longestKey = 63;

/**
 * The key of a pool's annotation.
 *
 * Unlike the upstream plugin's it holds the pool's name: the kubelet merges the annotations of all resources of a container
 * by key, and readers take every key that begins with "cdi.k8s.io/". A longer one is cut and ends in its hash.
 */
export function cdiAnnotationKey(spec: Named): string {
  const key = `${spec.prefix}_${deviceTypes[spec.deviceType].cdiClass}_${spec.name}`;
  const hash = Bun.hash(key).toString(36);
  return `cdi.k8s.io/${key.length <= longestKey ? key : `${key.slice(0, longestKey - 1 - hash.length)}_${hash}`}`;
}

/** The CDI devices of a file by their names, each with its nodes, of which it has at least one. */
export type CdiDevices = ReadonlyMap<string, readonly DeviceNode[]>;

/** What a spec file says. */
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
 * A device without nodes has nothing to be edited in, and one with empty edits makes the whole spec invalid: it is left
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

/** What is left of each file that has devices which are not to stay in it; the other files are missing. */
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
