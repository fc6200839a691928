// What does the kubelet get as the answer to Allocate? A pure function of the pool, the request, and what was read of the requested
// devices just now.

import type { AllocationFacts } from "../host/allocation-facts.ts";
import { cdiAnnotationKey, cdiDeviceName } from "../pools/names.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";
import type { CdiDevices, CdiMode } from "./cdi.ts";
import { contribute, type Contributions, nodesOf } from "./contributions.ts";
import { deviceInfoFile, type DeviceInfoFile } from "./device-info.ts";
import { poolEnvironment } from "./environment.ts";

/** The answer for one container, in the shape of the device plugin API's ContainerAllocateResponse. */
export interface ContainerAnswer {
  readonly envs: Record<string, string>;
  readonly mounts: never[];
  readonly devices: { containerPath: string; hostPath: string; permissions: string }[];
  readonly annotations: Record<string, string>;
  readonly cdiDevices: { name: string }[];
}

/** A device id of a request as an error shows it: quoted, and cut after 80 characters. */
export const shownId = (id: string): string => JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id);

/** Why ids can't be allocated from a pool, as a sentence; null when they can. */
export function refuseIds(pool: Pool, ids: readonly string[]): string | null {
  const { resource } = pool.spec;
  if (ids.length === 0) return `no device id was requested of ${resource}`;
  const seen = new Set<string>();
  for (const id of ids) {
    if (!pool.claims.has(id)) return `device ${shownId(id)} is not in pool ${resource}`;
    if (seen.has(id)) return `device ${shownId(id)} was requested twice of ${resource}`;
    seen.add(id);
  }
  return null;
}

/** What an answer by CDI is made of: how devices are named in it, and which devices the pool's spec has. */
export interface CdiContext {
  readonly mode: CdiMode;
  readonly devices: CdiDevices;
}

/** A device that is about to be handed out: what was read of it, and what that contributes to a container. Made once per request. */
export interface PreparedDevice {
  readonly claim: Claim;
  readonly facts: AllocationFacts;
  readonly contributions: Contributions;
}

/** Prepares the pool's devices of which facts were read, by id. */
export function prepareDevices(
  { spec, claims }: Pool,
  factsById: ReadonlyMap<string, AllocationFacts>,
): Map<string, PreparedDevice> {
  const prepared = new Map<string, PreparedDevice>();
  for (const [id, facts] of factsById) {
    const claim = claims.get(id);
    if (claim) prepared.set(id, { claim, facts, contributions: contribute({ claim, facts, spec }) });
  }
  return prepared;
}

/** Answers for one container; by device nodes when `cdi` is null. All ids must have been prepared. */
export function allocate(
  spec: PoolSpec,
  ids: readonly string[],
  prepared: ReadonlyMap<string, PreparedDevice>,
  cdi: CdiContext | null,
): { readonly answer: ContainerAnswer; readonly files: readonly DeviceInfoFile[] } {
  const contributions = new Map<string, Contributions>();
  const files: DeviceInfoFile[] = [];
  for (const id of ids) {
    const device = prepared.get(id);
    if (!device) throw new Error(`device ${id} of ${spec.resource} was not read before it was allocated`);
    contributions.set(id, device.contributions);
    const file = deviceInfoFile(device.claim, device.facts, spec);
    if (file) files.push(file);
  }
  const names = ids.filter((id) => cdi?.devices.has(id)).map((id) => cdiDeviceName(spec, id));
  const isAnnotated = cdi?.mode === "annotations" && names.length > 0;
  const answer: ContainerAnswer = {
    envs: poolEnvironment(spec, contributions),
    mounts: [],
    devices: cdi ? [] : nodesOf(contributions.values()).map((node) => ({ ...node, permissions: "rw" })),
    annotations: isAnnotated ? { [cdiAnnotationKey(spec)]: names.join(",") } : {},
    cdiDevices: cdi?.mode === "cdi-devices" ? names.map((name) => ({ name })) : [],
  };
  return { answer, files };
}
