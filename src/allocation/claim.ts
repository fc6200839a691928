// What does a pod receive of a DRA claim? From the claim's allocation and the pools to CDI devices, as one CDI spec per claim, and to
// the answer to the kubelet's NodePrepareResources. The spec's file is also the record of what was prepared. Pure.

import * as v from "valibot";
import type { AllocationFacts } from "../host/allocation-facts.ts";
import { claimCdiKind, sliceDeviceName } from "../pools/names.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";
import { contribute, type DeviceNode, nodesOf } from "./contributions.ts";
import { deviceInfoFile, type DeviceInfoFile } from "./device-info.ts";
import { poolEnvironment } from "./environment.ts";

/** An allocated device (resource.k8s.io/v1, DeviceRequestAllocationResult). */
export interface AllocationResult {
  /** "REQUEST", or "REQUEST/SUBREQUEST" of a request with alternatives. */
  readonly request: string;
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
  /** Whether the device is handed out for monitoring, even if another claim has it. */
  readonly adminAccess: boolean;
  /** Of a device that several claims share; null for all others. */
  readonly shareId: string | null;
}

/** A claim as the kubelet names it. */
export interface ClaimReference {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** A pod that a claim is reserved for. */
export interface ClaimPod {
  readonly name: string;
  readonly uid: string;
}

/** What counts of an allocated ResourceClaim; the results are those of all drivers. */
export interface AllocatedClaim extends ClaimReference {
  readonly results: readonly AllocationResult[];
  /** The pods that it is reserved for. */
  readonly pods: readonly ClaimPod[];
}

/** A result of this driver, and the device that it is about. */
export interface ClaimedDevice {
  readonly result: AllocationResult;
  /** The device id, as elsewhere: "0000:3b:02.1". */
  readonly id: string;
  readonly claim: Claim;
  readonly spec: PoolSpec;
}

/** The devices that a claim was allocated of this driver; throws an Error that names the device when one is in no pool. */
export function claimedDevices({ results }: AllocatedClaim, driver: string, pools: readonly Pool[]): ClaimedDevice[] {
  const byName = new Map<string, Omit<ClaimedDevice, "result">>();
  for (const { spec, claims } of pools)
    for (const [id, claim] of claims) byName.set(sliceDeviceName(id), { id, claim, spec });
  return results
    .filter((result) => result.driver === driver)
    .map((result) => {
      const found = byName.get(result.device);
      // Gone, excluded, or no longer selected: in any case it must not be handed out.
      if (!found) throw new Error(`device ${JSON.stringify(result.device)} is in no pool of this node`);
      return { result, ...found };
    });
}

/** A CDI device of a claim's spec, in the shape in which it is written. */
interface ClaimCdiDevice {
  readonly name: string;
  readonly containerEdits: {
    readonly env?: readonly string[];
    readonly deviceNodes?: readonly { readonly path: string; readonly hostPath: string; readonly permissions: "rw" }[];
  };
}

/** The CDI spec of a claim. Its variables may be secrets (additionalInfo): only root may read the file. */
export interface ClaimCdiSpec {
  /** The first version with annotations (pkg/cdi/version.go). */
  readonly cdiVersion: "0.6.0";
  readonly kind: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly devices: readonly ClaimCdiDevice[];
}

/** A device in the answer to NodePrepareResources (k8s.io/kubelet/pkg/apis/dra/v1, Device). */
export interface PreparedClaimDevice {
  readonly requestNames: readonly string[];
  readonly poolName: string;
  readonly deviceName: string;
  readonly cdiDeviceIds: readonly string[];
  readonly shareId: string | null;
}

/** All that preparing a claim leads to. */
export interface PreparedClaim {
  readonly spec: ClaimCdiSpec;
  readonly devices: readonly PreparedClaimDevice[];
  readonly files: readonly DeviceInfoFile[];
}

/** The annotation that holds the record of a prepared claim, as JSON. */
const recordKey = (driver: string): string => `${driver}/prepared`;

/** The request that containers name; an alternative is handed out under the name of its request. */
const requestOf = ({ request }: AllocationResult): string => request.split("/")[0] ?? request;

/** A request name that no request can have, so that the kubelet gives its devices only to containers that name no request. */
const noRequest = "/";

/** A device with what it gives to a container. */
interface Contributed extends ClaimedDevice {
  readonly contribution: ReturnType<typeof contribute>;
}

/** The names of a claim's CDI devices: of the whole claim, of a request, and of a device in a request. */
const cdiName = ({ uid }: ClaimReference, ...parts: readonly string[]): string => [uid, ...parts].join(".");

/**
 * The answer for an allocated claim: it depends on the results of this driver alone, whatever the node has of the devices by now. A
 * claim that was prepared before is answered the same.
 */
export function preparedDevices(claim: AllocatedClaim, driver: string): PreparedClaimDevice[] {
  const results = claim.results.filter((result) => result.driver === driver);
  const byRequest = Map.groupBy(results, requestOf);
  const cdiId = (...parts: readonly string[]) => `${claimCdiKind(driver)}=${cdiName(claim, ...parts)}`;
  const devices = [...byRequest].flatMap(([request, ofRequest]) =>
    ofRequest.map((result, index) => {
      const ownId = cdiId(request, result.device);
      // The first id is what a pod's status shows of the device (kubelet cm/dra UpdateAllocatedResourcesStatus).
      return preparedClaimDevice([request], result, index === 0 ? [ownId, cdiId(request)] : [ownId]);
    }),
  );
  const last = results.at(-1);
  // Last, so that its variables win.
  return last && byRequest.size > 1 ? [...devices, preparedClaimDevice([noRequest], last, [cdiId()])] : devices;
}

const preparedClaimDevice = (
  requestNames: readonly string[],
  { pool, device, shareId }: AllocationResult,
  cdiDeviceIds: readonly string[],
): PreparedClaimDevice => ({ requestNames, poolName: pool, deviceName: device, cdiDeviceIds, shareId });

/**
 * Prepares a claim: its CDI spec, the answer and the device-info files. The same claim and facts give the same result.
 *
 * CDI devices are named `UID`, `UID.REQUEST` and `UID.REQUEST.DEVICE`. Of several CDI edits of one variable the last one wins, so
 * variables are joined: over a request, and over the whole claim for containers that name no request. A container that names several
 * requests of one resource, but not all, gets the variables of the last one and the nodes of all.
 */
export function prepareClaim(
  claim: AllocatedClaim,
  claimed: readonly ClaimedDevice[],
  allocationFactsOf: (claimed: ClaimedDevice) => AllocationFacts,
  driver: string,
): PreparedClaim {
  const files = new Map<string, DeviceInfoFile>();
  const contributed = claimed.map((each): Contributed => {
    const facts = allocationFactsOf(each);
    const file = deviceInfoFile(each.claim, facts, each.spec);
    // The file of a device that is only watched belongs to the claim that uses it.
    if (file && !each.result.adminAccess) files.set(file.name, file);
    return { ...each, contribution: contribute({ claim: each.claim, facts, spec: each.spec }) };
  });
  const byRequest = Map.groupBy(contributed, ({ result }) => requestOf(result));
  const cdiDevices: ClaimCdiDevice[] = [...byRequest].flatMap(([request, ofRequest]) => [
    { name: cdiName(claim, request), containerEdits: { env: variablesOf(ofRequest) } },
    ...ofRequest.map((each) => ({
      name: cdiName(claim, request, each.result.device),
      containerEdits: editsOf(each, ofRequest),
    })),
  ]);
  if (byRequest.size > 1) cdiDevices.push({ name: cdiName(claim), containerEdits: { env: variablesOf(contributed) } });
  const kind = claimCdiKind(driver);
  const annotations = { [recordKey(driver)]: JSON.stringify(recordOf(claim, claimed)) };
  return {
    spec: { cdiVersion: "0.6.0", kind, annotations, devices: cdiDevices },
    devices: preparedDevices(claim, driver),
    files: [...files.values()],
  };
}

/** "NAME=VALUE" for the devices of each resource, in the order of the claim. */
const variablesOf = (contributed: readonly Contributed[]): string[] =>
  byResource(contributed).flatMap(([spec, contributions]) =>
    Object.entries(poolEnvironment(spec, contributions)).map(([name, value]) => `${name}=${value}`),
  );

function byResource(contributed: readonly Contributed[]): [PoolSpec, Map<string, Contributed["contribution"]>][] {
  const groups = Map.groupBy(contributed, ({ spec }) => spec.resource).values();
  return [...groups].flatMap((group) => {
    const contributions = new Map(group.map(({ id, contribution }) => [id, contribution]));
    return group[0] ? [[group[0].spec, contributions]] : [];
  });
}

/** A device's own edits. They must not be empty: without nodes they repeat the ids of its request, which changes nothing. */
function editsOf(each: Contributed, ofRequest: readonly Contributed[]): ClaimCdiDevice["containerEdits"] {
  const nodes = nodesOf([each.contribution]);
  if (nodes.length > 0) return { deviceNodes: nodes.map(cdiNode) };
  const [variable] = variablesOf(ofRequest.filter(({ spec }) => spec.resource === each.spec.resource));
  return variable === undefined ? {} : { env: [variable] };
}

const cdiNode = ({ containerPath, hostPath }: DeviceNode) => ({
  path: containerPath,
  hostPath,
  permissions: "rw" as const,
});

const recordSchema = v.object({
  uid: v.string(),
  namespace: v.string(),
  name: v.string(),
  devices: v.array(v.object({ resource: v.string(), id: v.string() })),
  pods: v.optional(v.array(v.string()), []),
  podUids: v.optional(v.array(v.string()), []),
});

/**
 * What was prepared for a claim: the devices that no other claim may get meanwhile, those with adminAccess left out, and the names and UIDs, in
 * one order, of the pods that it was reserved for. Records of earlier versions have no UIDs.
 */
export type ClaimRecord = v.InferOutput<typeof recordSchema>;

const recordOf = ({ uid, namespace, name, pods }: AllocatedClaim, claimed: readonly ClaimedDevice[]): ClaimRecord => ({
  uid,
  namespace,
  name,
  ...podFields(pods),
  devices: claimed.filter(({ result }) => !result.adminAccess).map(({ id, spec }) => ({ resource: spec.resource, id })),
});

const podFields = (pods: readonly ClaimPod[]) => ({
  pods: pods.map(({ name }) => name),
  podUids: pods.map(({ uid }) => uid),
});

/** Reads the JSON of a record; null for any other text. */
export function readClaimRecord(text: string): ClaimRecord | null {
  try {
    return v.parse(recordSchema, JSON.parse(text));
  } catch {
    return null;
  }
}

/** The pods of a record that have a cgroup; none where cgroups can't be read, or the record has no UIDs. */
export const runningPods = ({ pods, podUids }: ClaimRecord, cgroups: ReadonlySet<string> | null): ClaimPod[] =>
  podUids.flatMap((uid, index) => (cgroups?.has(uid) ? [{ name: pods[index] ?? uid, uid }] : []));

/** The claim with the pods of an earlier record that still run, though the claim is no longer reserved for them. */
export function withRunningPods(
  claim: AllocatedClaim,
  earlier: ClaimRecord,
  cgroups: ReadonlySet<string> | null,
): AllocatedClaim {
  const known = new Set(claim.pods.map(({ uid }) => uid));
  const others = runningPods(earlier, cgroups).filter(({ uid }) => !known.has(uid));
  return { ...claim, pods: [...claim.pods, ...others] };
}

/** The text of a claim's spec, with other pods in its record. */
export function withPods(text: string, record: ClaimRecord, pods: readonly ClaimPod[], driver: string): string {
  const spec = JSON.parse(text) as Pick<ClaimCdiSpec, "annotations">;
  const changed = { [recordKey(driver)]: JSON.stringify({ ...record, ...podFields(pods) }) };
  return JSON.stringify({ ...spec, annotations: { ...spec.annotations, ...changed } });
}

const specSchema = v.object({
  kind: v.string(),
  annotations: v.record(v.string(), v.string()),
  devices: v.array(v.object({ name: v.string() })),
});

/** A claim's spec as it is read back: its record, and the names of its CDI devices. */
export interface ClaimSpecContent {
  readonly record: ClaimRecord;
  readonly names: ReadonlySet<string>;
}

/** Reads the text of a claim's spec; null for any other text. */
export function readClaimSpec(text: string, driver: string): ClaimSpecContent | null {
  try {
    const { kind, annotations, devices } = v.parse(specSchema, JSON.parse(text));
    if (kind !== claimCdiKind(driver)) return null;
    const record = readClaimRecord(annotations[recordKey(driver)] ?? "");
    return record && { record, names: new Set(devices.map(({ name }) => name)) };
  } catch {
    return null;
  }
}

/** Whether a spec is that of the claim as it is allocated now: it records just these devices, and has all that the answer names. */
export function isPreparedAs({ record, names }: ClaimSpecContent, claim: AllocatedClaim, driver: string): boolean {
  const used = claim.results.filter((result) => result.driver === driver && !result.adminAccess);
  const allocated = new Set(used.map(({ device }) => device));
  const recorded = new Set(record.devices.map(({ id }) => sliceDeviceName(id)));
  const ids = preparedDevices(claim, driver).flatMap(({ cdiDeviceIds }) => cdiDeviceIds);
  return (
    record.uid === claim.uid &&
    allocated.size === recorded.size &&
    [...allocated].every((device) => recorded.has(device)) &&
    ids.every((id) => names.has(id.slice(`${claimCdiKind(driver)}=`.length)))
  );
}
