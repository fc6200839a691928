// Which ResourceSlices should the API server have, and what must be written for that? A pool is 64 VFs of one PF and one slice: a
// link that goes down rewrites one object, and no pool is ever incomplete. Pure.

import type { Device } from "../host/device.ts";
import { sliceDeviceName } from "../pools/names.ts";
import type { Pool } from "../pools/pool.ts";
import { type AttributeSet, attributesOf } from "./attributes.ts";
import { apiLimits, resourceProblem, shortened } from "./api-names.ts";
import type { ResourceSlice, SliceDevice, SliceTaint } from "./resource-slice.ts";

/** What slices depend on besides the pools. */
export interface SliceContext {
  readonly driver: string;
  readonly node: { readonly name: string; readonly uid: string };
  readonly attributes: AttributeSet;
  /** Whether the API server keeps taints, as it does from 1.36. Without them, what must not be allocated is left out. */
  readonly hasTaints: boolean;
  /** Ids of devices that pods have from the device plugin since before this node changed to the DRA role. */
  readonly heldElsewhere: ReadonlySet<string>;
}

/** A slice as it should be. */
export interface DesiredSlice {
  readonly name: string;
  readonly pool: string;
  readonly devices: readonly SliceDevice[];
}

const dnsName = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9.]/g, "-");

/**
 * The place of a device: its PF and a block of 64 function indexes, so that it depends on the device alone. SFs have numbers of
 * their own; a device without an index is alone in its place.
 */
function placeOf({ id, bus, pf, functionIndex }: Device): string {
  if (pf === null || functionIndex === null) return `${dnsName(id)}/function`;
  const first = functionIndex - (functionIndex % apiLimits.devices);
  if (bus === "auxiliary") return `${dnsName(pf.address)}/sf-${first}`;
  return first === 0 ? dnsName(pf.address) : `${dnsName(pf.address)}/${first}`;
}

/** The pool's name: "NODE/0000-3b-00.0", "NODE/0000-3b-00.0/64", "NODE/0000-08-00.0/sf-0". */
const poolName = (node: string, place: string): string =>
  `${shortened(node, apiLimits.poolName - place.length - 1)}/${place}`;

/** The slice's name. It is always the same, so that two instances of the plugin can't create two of them. */
const sliceName = ({ driver, node }: SliceContext, place: string): string =>
  shortened(`${node.name}-${driver}-${place.replaceAll("/", "-")}`, apiLimits.objectName);

/** A device with its place among those of its slice. */
interface Placed {
  readonly index: number;
  readonly device: SliceDevice;
}

/** The slices of all pools, in the order of their names. Devices of a resource whose name is too long for the API are left out. */
export function desiredSlices(pools: readonly Pool[], context: SliceContext): DesiredSlice[] {
  const placed = pools
    .filter(({ spec }) => resourceProblem(spec.resource) === null)
    .flatMap((pool) =>
      [...pool.claims].flatMap(([id, { device }]) => {
        const published = sliceDevice(pool, id, device, context);
        return published === null
          ? []
          : [{ place: placeOf(device), index: device.functionIndex ?? 0, device: published }];
      }),
    );
  return [...Map.groupBy(placed, ({ place }) => place)]
    .flatMap(([place, devices]) => slicesOf(place, devices, context))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The slices of a place. More than one only where devices share an index, which no kernel gives: it must not cost the others. */
function slicesOf(place: string, placed: readonly Placed[], context: SliceContext): DesiredSlice[] {
  // The scheduler takes the first one that fits: the lowest index, whatever the order of the pools.
  const devices = placed
    .toSorted((a, b) => a.index - b.index || (a.device.name < b.device.name ? -1 : 1))
    .map(({ device }) => device);
  const { devices: max } = apiLimits;
  return Array.from({ length: Math.ceil(devices.length / max) }, (_, part) => {
    const own = part === 0 ? place : `${place}/more-${part}`;
    return {
      name: sliceName(context, own),
      pool: poolName(context.node.name, own),
      devices: devices.slice(part * max, (part + 1) * max),
    };
  });
}

/** A device as it is published; null when it is not. */
function sliceDevice(pool: Pool, id: string, device: Device, context: SliceContext): SliceDevice | null {
  const { driver, hasTaints, heldElsewhere } = context;
  // NoSchedule: no new pod gets the device, and those that have it keep it, as with the device plugin's Unhealthy.
  const taints: SliceTaint[] = [
    ...(pool.unhealthy.has(id) ? [{ key: `${driver}/unhealthy`, effect: "NoSchedule" }] : []),
    ...(heldElsewhere.has(id) ? [{ key: `${driver}/held`, value: "device-plugin", effect: "NoSchedule" }] : []),
  ];
  if (taints.length > 0 && !hasTaints) return null;
  const name = sliceDeviceName(id);
  // Ids are PCI addresses, or names of the auxiliary bus: neither comes near the limit.
  if (name.length > apiLimits.deviceName || !/^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(name)) return null;
  return {
    name,
    attributes: attributesOf(device, pool.spec.resource, context.attributes),
    ...(taints.length === 0 ? {} : { taints }),
  };
}

/** A write to the API server. The slice of an update has the resourceVersion that it replaces. */
export interface SliceWrite {
  readonly action: "create" | "update" | "delete";
  readonly slice: ResourceSlice;
}

/**
 * The writes that make the driver's slices of this node those that are desired; none when they are. `found` are all that the API
 * server has of them. Deletions come first: no device is published twice, and a name is free before it is used again.
 * `annotations` are set by writes that are needed anyway. `lastDevices` are those that a slice, by its name, had before it was
 * deleted: their taints keep their times.
 */
export function sliceWrites(
  desired: readonly DesiredSlice[],
  found: readonly ResourceSlice[],
  context: SliceContext,
  annotations: Readonly<Record<string, string>> = {},
  lastDevices: ReadonlyMap<string, readonly SliceDevice[]> = new Map(),
): SliceWrite[] {
  const poolByName = new Map(desired.map(({ name, pool }) => [name, pool]));
  // Pool, driver and node of a slice are immutable.
  const canStay = ({ metadata, spec }: ResourceSlice) =>
    spec.pool.name === poolByName.get(metadata.name) &&
    spec.driver === context.driver &&
    spec.nodeName === context.node.name;
  const deleted = found.filter((slice) => !canStay(slice));
  const kept = new Map(found.filter(canStay).map((slice) => [slice.metadata.name, slice]));
  const writes = desired.flatMap((slice): SliceWrite[] => {
    const before = kept.get(slice.name) ?? null;
    const rivals = deleted.filter(({ spec }) => spec.pool.name === slice.pool);
    // Consumers take the highest generation of a pool. A slice that is its whole pool can't be seen in half, and keeps its own.
    const highest = Math.max(0, ...rivals.map(({ spec }) => spec.pool.generation));
    const generation = before && before.spec.pool.generation > highest ? before.spec.pool.generation : highest + 1;
    const isSame = before && sliceContent(before) === contentText([context.node.uid], generation, 1, slice.devices);
    if (isSame) return [];
    const known = before ? (before.spec.devices ?? []) : (lastDevices.get(slice.name) ?? []);
    const devices = withTimes(slice.devices, known);
    const after = sliceOf({ ...slice, devices }, before, generation, context, annotations);
    return [{ action: before ? "update" : "create", slice: after }];
  });
  return [...deleted.map((slice) => ({ action: "delete" as const, slice })), ...writes];
}

function sliceOf(
  { name, pool, devices }: DesiredSlice,
  before: ResourceSlice | null,
  generation: number,
  { driver, node }: SliceContext,
  annotations: Readonly<Record<string, string>>,
): ResourceSlice {
  const allAnnotations = { ...before?.metadata.annotations, ...annotations };
  return {
    apiVersion: "resource.k8s.io/v1",
    kind: "ResourceSlice",
    metadata: {
      // Labels, annotations and finalizers of others stay. managedFields would be half of what is sent.
      ...(before ? { ...before.metadata, managedFields: undefined } : { name }),
      ...(Object.keys(allAnnotations).length === 0 ? {} : { annotations: allAnnotations }),
      // The garbage collector deletes slices of a node that is gone.
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name: node.name, uid: node.uid, controller: true }],
    },
    spec: {
      driver,
      nodeName: node.name,
      pool: { name: pool, generation, resourceSliceCount: 1 },
      devices: [...devices],
    },
  };
}

/** The same devices; a taint that was there before keeps its time. */
function withTimes(devices: readonly SliceDevice[], before: readonly SliceDevice[]): SliceDevice[] {
  const taintsBefore = new Map(before.map(({ name, taints = [] }) => [name, taints]));
  return devices.map((device) => {
    if (device.taints === undefined) return device;
    const known = taintsBefore.get(device.name) ?? [];
    const taints = device.taints.map((taint) => {
      const time = known.find((each) => isSameTaint(each, taint))?.timeAdded;
      return time === undefined ? taint : { ...taint, timeAdded: time };
    });
    return { ...device, taints };
  });
}

const isSameTaint = (a: SliceTaint, b: SliceTaint): boolean =>
  a.key === b.key && (a.value ?? "") === (b.value ?? "") && a.effect === b.effect;

/** All that we write of a slice, annotations aside, as a text to compare. */
export const sliceContent = ({ metadata, spec }: ResourceSlice): string => {
  const { generation, resourceSliceCount } = spec.pool;
  const owners = (metadata.ownerReferences ?? []).map(({ uid }) => uid);
  return contentText(owners, generation, resourceSliceCount, spec.devices ?? noDevices);
};

const contentText = (
  owners: readonly string[],
  generation: number,
  count: number,
  devices: readonly SliceDevice[],
): string => JSON.stringify([owners, generation, count, devicesContent(devices)]);

/** All that is desired of a slice, whatever the API server has, as a text to compare. */
export const desiredContent = ({ pool, devices }: DesiredSlice, { node }: SliceContext): string =>
  JSON.stringify([pool, node.uid, devicesContent(devices)]);

const noDevices: readonly SliceDevice[] = [];

/** Texts of lists of devices: they are compared at every event of a watch, and never change. */
const deviceTexts = new WeakMap<readonly SliceDevice[], string>();

/** All that we write of devices, as a text to compare: the order of attributes and the times of taints do not count. */
function devicesContent(devices: readonly SliceDevice[]): string {
  const known = deviceTexts.get(devices);
  if (known !== undefined) return known;
  const text = JSON.stringify(
    devices.map(({ name, attributes, taints = [] }) => [
      name,
      attributesContent(attributes),
      taints.map(({ key, value = "", effect }) => [key, value, effect]),
    ]),
  );
  deviceTexts.set(devices, text);
  return text;
}

const attributesContent = (attributes: SliceDevice["attributes"]): string =>
  JSON.stringify(Object.entries(attributes).toSorted(([a], [b]) => (a < b ? -1 : 1)));

/**
 * Whether something can be allocated by the slice `before` that can't, or is something else, by `after`: a device is missing, has
 * another taint or another attribute. Such a change can't wait.
 */
export function isLoss(before: readonly SliceDevice[], after: readonly SliceDevice[]): boolean {
  const remaining = new Map(after.map((device) => [device.name, device]));
  return before.some(({ name, attributes, taints = [] }) => {
    const device = remaining.get(name);
    if (!device || attributesContent(device.attributes) !== attributesContent(attributes)) return true;
    return (device.taints ?? []).some((taint) => !taints.some((each) => isSameTaint(each, taint)));
  });
}
