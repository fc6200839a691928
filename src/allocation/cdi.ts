// How is a device named and described to the container runtime? A Container Device Interface spec a pool
// (cncf-tags/container-device-interface SPEC.md): one CDI device a device that has device nodes.

import { deviceTypes } from "../pools/device-types.ts";
import type { PoolSpec } from "../pools/pool.ts";
import type { DeviceNode } from "./contributions.ts";

/** The kind "<prefix>/<class>" of a pool's CDI devices. */
export const cdiKind = (spec: PoolSpec): string => `${spec.prefix}/${deviceTypes[spec.deviceType].cdiClass}`;

/** Every file of ours starts so, in whichever pool. */
export const cdiFilePrefix = "sriov-dp-";

/** The spec file's name; a "/" can't stand in it. */
export const cdiFileName = (spec: PoolSpec): string =>
  `${cdiFilePrefix}${cdiKind(spec).replaceAll("/", "-")}-${spec.name}.yaml`;

/** The fully-qualified name of a CDI device. */
export const cdiDeviceName = (spec: PoolSpec, id: string): string => `${cdiKind(spec)}=${id}`;

/** A CDI spec, in the shape in which it is written. */
export interface CdiSpec {
  readonly cdiVersion: "0.5.0";
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
 * Describes a pool; null when no device has a node.
 *
 * A device without nodes has nothing to be edited in, and one with empty edits makes the whole spec invalid: it is left
 * out, and its Allocate answer names no CDI device.
 */
export function cdiSpec(spec: PoolSpec, nodes: ReadonlyMap<string, readonly DeviceNode[]>): CdiSpec | null {
  const devices = [...nodes]
    .filter(([, of]) => of.length > 0)
    .map(([name, of]) => ({
      name,
      containerEdits: {
        deviceNodes: of.map(({ containerPath, hostPath }) => ({
          path: containerPath,
          hostPath,
          permissions: "rw" as const,
        })),
      },
    }));
  return devices.length === 0 ? null : { cdiVersion: "0.5.0", kind: cdiKind(spec), devices };
}
