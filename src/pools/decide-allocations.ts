// Which devices are allocated to pods, under which resource? Evidence decides, never memory alone: the kubelet keeps pods that
// ended in its checkpoint, also over a reboot after which ids mean other devices.

/** A device that a container has according to one source. */
export interface PodDevice {
  readonly resource: string;
  readonly id: string;
  /** "namespace/name", or the pod's UID where only that is known. */
  readonly pod: string;
  readonly container: string;
  /** Whether it was prepared for a claim of DRA; the resource is the driver's name then. */
  readonly isClaimed?: boolean;
}

/** The evidence by which a device counts as allocated. */
export const allocationEvidences = [
  "pod-resources",
  "pod cgroup",
  "in use",
  "allocated here",
  "named before",
  "prepared claim",
] as const;
export type AllocationEvidence = (typeof allocationEvidences)[number];

/** A device that is allocated to a pod. */
export interface AllocatedDevice extends PodDevice {
  readonly evidence: AllocationEvidence;
  /** The pod's UID; null while the checkpoint does not name it. */
  readonly uid: string | null;
  /** When pod-resources named it last, in milliseconds of the monotonic clock; null when it never did. */
  readonly namedAt: number | null;
}

/** Allocated devices by id. */
export type Allocations = ReadonlyMap<string, AllocatedDevice>;

/** A device that this process allocated. */
export interface OwnAllocation {
  readonly resource: string;
  /** Milliseconds of the monotonic clock. */
  readonly at: number;
  /** Whether the checkpoint has named it since. */
  readonly recorded: boolean;
  /** Whether its pod has been seen alive since, so that its end can be seen too. */
  readonly seenAlive: boolean;
}

/** What was read at one moment, in this order. */
export interface PodEvidence {
  /** Milliseconds of the monotonic clock. */
  readonly now: number;
  /** Entries of the kubelet's checkpoint, their pods as UIDs; null when it can't be read. */
  readonly checkpoint: readonly PodDevice[] | null;
  /** Devices of active pods, as the kubelet answers; null when it does not answer. */
  readonly podResources: readonly PodDevice[] | null;
  /** UIDs of pods that have a cgroup; null when cgroups of pods are not visible. */
  readonly podCgroups: ReadonlySet<string> | null;
  /** Devices that show signs of use, by id; read only where cgroups are not visible. */
  readonly inUse: ReadonlyMap<string, string>;
  /** What this process allocated, by device id. */
  readonly own: ReadonlyMap<string, OwnAllocation>;
  /** Since when the kubelet's socket has been the same, in milliseconds of the monotonic clock. */
  readonly kubeletSince: number;
}

/** Milliseconds for which an allocation counts though nothing shows its pod: the kubelet makes its cgroup after admission. */
export const admissionGrace = 20_000;

/** Milliseconds after which the kubelet has recorded an allocation and names its pod; until then it may still record an ended pod. */
export const recordDelay = 250;

/** Milliseconds for which a kubelet must have run before its silence on a pod counts: it reads its pods from the API first. */
export const kubeletSettled = 60_000;

/** Milliseconds after which a record without other evidence no longer counts. */
export const longestWithoutEvidence = 3_600_000;

/**
 * The devices that are allocated to pods, by id.
 *
 * What pod-resources names is allocated. Where pods' cgroups are visible, so is what the checkpoint records for a pod that has one, and nothing
 * else but what was allocated a moment ago. Where they are not, signs of use decide; then, for an hour at most, what this process
 * allocated and the checkpoint records, and what pod-resources stopped naming while the kubelet was starting or still records it.
 */
export function decideAllocations(evidence: PodEvidence, before: Allocations): Map<string, AllocatedDevice> {
  const allocated = new Map<string, AllocatedDevice>();
  const records = Map.groupBy(evidence.checkpoint ?? [], allocationKey);
  const isAlive = (uid: string | null) => uid !== null && evidence.podCgroups?.has(uid) === true;
  const add = (device: PodDevice, by: AllocationEvidence, uid: string | null = null) => {
    if (allocated.has(device.id)) return;
    const earlier = before.get(device.id);
    const known = earlier?.resource === device.resource && earlier.uid === uid ? earlier : null;
    const namedAt = by === "pod-resources" ? evidence.now : (known?.namedAt ?? null);
    // A pod whose name was known once is shown by it.
    const shown = known && known.namedAt !== null && by !== "pod-resources" ? known : device;
    allocated.set(device.id, { ...device, pod: shown.pod, container: shown.container, evidence: by, uid, namedAt });
  };

  for (const device of evidence.podResources ?? [])
    add(device, "pod-resources", uidIn(records.get(allocationKey(device)), isAlive));
  for (const device of evidence.checkpoint ?? []) if (isAlive(device.pod)) add(device, "pod cgroup", device.pod);
  for (const [id, own] of evidence.own) {
    const recorded = records.get(allocationKey({ id, resource: own.resource }));
    const device = recorded?.at(-1) ?? { resource: own.resource, id, pod: "", container: "" };
    if (counts(own, recorded !== undefined, evidence)) add(device, "allocated here", device.pod || null);
  }
  for (const earlier of before.values()) {
    if (isAlive(earlier.uid)) add(earlier, "pod cgroup", earlier.uid);
    else if (mayStillBe(earlier, records.has(allocationKey(earlier)), evidence))
      add(earlier, "named before", earlier.uid);
  }
  for (const id of evidence.inUse.keys()) {
    const record = before.get(id) ?? evidence.checkpoint?.findLast((each) => each.id === id);
    if (record)
      add(
        record,
        "in use",
        evidence.checkpoint?.findLast((each) => allocationKey(each) === allocationKey(record))?.pod ?? null,
      );
  }
  return allocated;
}

/** What two records of one device under one resource have in common, as a key of maps and sets. */
export const allocationKey = ({ resource, id }: Pick<PodDevice, "resource" | "id">): string => `${resource} ${id}`;

/** The pod that a checkpoint's entries of one device name: one that lives before others, the newest of several. */
const uidIn = (records: readonly PodDevice[] | undefined, isAlive: (uid: string) => boolean): string | null =>
  (records?.findLast(({ pod }) => isAlive(pod)) ?? records?.at(-1))?.pod ?? null;

/**
 * Whether an allocation of this process counts by itself, though its pod shows no life. A pod that was seen alive is judged by what
 * shows it; and a kubelet that has recorded the allocation, and names its pods, names the pod from then on.
 */
function counts(own: OwnAllocation, isRecorded: boolean, evidence: PodEvidence): boolean {
  const { now, podCgroups, podResources, checkpoint } = evidence;
  const age = now - own.at;
  const isRevoked = own.recorded && !isRecorded && checkpoint !== null;
  const isOver = isRecorded && podResources !== null && podCgroups !== null && age >= recordDelay;
  if (age <= admissionGrace && !own.seenAlive) return !isRevoked && !isOver;
  return podCgroups === null && isRecorded && age <= longestWithoutEvidence;
}

/**
 * Whether a device that pod-resources named and no longer names may still be allocated: where cgroups are not visible, and one of a claim,
 * which no record names.
 */
function mayStillBe(device: AllocatedDevice, isRecorded: boolean, evidence: PodEvidence): boolean {
  const { now, podCgroups, checkpoint, kubeletSince } = evidence;
  // With cgroups the record decides: the kubelet drops it only when the pod has ended, and it names the pod.
  if (podCgroups !== null && device.isClaimed !== true && (device.uid !== null || checkpoint !== null)) return false;
  if (device.namedAt === null || now - device.namedAt > longestWithoutEvidence) return false;
  const isSettled = evidence.podResources !== null && now - kubeletSince >= kubeletSettled;
  return !isSettled || isRecorded || checkpoint === null;
}
