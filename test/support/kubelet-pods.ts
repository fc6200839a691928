// The pods of a kubelet double: what they hold, what the checkpoint records of them, and their cgroups.

import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
import { ContainerAllocateResponse, type Device } from "../../src/kubelet/api/deviceplugin.ts";
import type { PodResources } from "../../src/kubelet/api/podresources.ts";
import { type Allocation, podUid } from "./kubelet-view.ts";

/** What a test may change while pods run; KubeletDouble describes each. */
export interface PodHabits {
  readonly cgroupDriver: "systemd" | "cgroupfs" | null;
  readonly namesPods: boolean;
  readonly claims: readonly PodClaim[];
}

/** A device of a claim of DRA that is prepared for a pod. */
export interface PodClaim {
  readonly pod: string;
  readonly driver: string;
  readonly device: string;
}

export class KubeletPods {
  readonly #habits: PodHabits;
  /** What running pods hold. */
  readonly allocations: Allocation[] = [];
  /** What the checkpoint records: also of pods that ended, until the next admission. */
  #records: readonly Allocation[] = [];
  /** Pods that a reboot ended, and that the API server still has for this node: they are to be admitted again. */
  readonly #awaited = new Set<string>();
  readonly #cgroups: string | null;

  /** `cgroups` is where cgroups are mounted; null for none. */
  constructor(habits: PodHabits, cgroups: string | null) {
    this.#habits = habits;
    this.#cgroups = cgroups;
  }

  /** The ids of a resource that running pods hold. */
  held(resource: string): ReadonlySet<string> {
    return new Set(this.allocations.filter((each) => each.resource === resource).flatMap(({ ids }) => ids));
  }

  /** What was to be admitted again after a reboot has been rejected by now. */
  forgetAwaited(): void {
    this.#awaited.clear();
  }

  /** A pod was admitted. */
  admit(allocation: Allocation): void {
    this.allocations.push(allocation);
    this.#records = [...this.#records, allocation];
  }

  /** A pod of the checkpoint is admitted again, with what is recorded of it; throws when a device of it is not healthy. */
  readmit(pod: string, devicesOf: (resource: string) => ReadonlyMap<string, Device>): void {
    const records = this.#records.filter((each) => each.pod === pod);
    if (records.length === 0) throw new Error(`no record of ${pod}`);
    for (const { resource, ids } of records) {
      const devices = devicesOf(resource);
      if (ids.some((id) => devices.get(id)?.health !== "Healthy"))
        throw new Error(
          `previously allocated devices are no longer healthy; cannot allocate unhealthy devices ${resource}`,
        );
    }
    this.#awaited.delete(pod);
    this.allocations.push(...records);
    this.makeCgroup(pod);
  }

  /** The pod ended: its devices are free again, its cgroup is gone. The checkpoint has it until it is written for another reason. */
  release(pod: string): void {
    this.#awaited.delete(pod);
    this.#end(pod);
  }

  /** The node goes down: no pod runs on, and all cgroups are gone. */
  endAll(): void {
    for (const pod of new Set(this.allocations.map(({ pod }) => pod))) {
      this.#end(pod);
      this.#awaited.add(pod);
    }
    for (const folder of this.#podFolders()) removeCgroup(folder);
  }

  /** The cgroups above those of pods are made, as at the kubelet's start. */
  makePodFolders(): void {
    for (const folder of this.#podFolders()) mkdirSync(folder, { recursive: true });
  }

  /** The devices that the checkpoint records for pods that ended. */
  get endedRecords(): readonly Allocation[] {
    return this.#records.filter(({ pod }) => !this.#isRunning(pod));
  }

  /** Where a pod has its cgroup; null where this kubelet makes none. */
  cgroupOf(pod: string): string | null {
    if (this.#cgroups === null || this.#habits.cgroupDriver === null) return null;
    // Pods with devices but without requests for CPU or memory are best-effort.
    const uid = podUid(pod);
    return this.#habits.cgroupDriver === "cgroupfs"
      ? `${this.#cgroups}/kubepods/besteffort/pod${uid}`
      : `${this.#cgroups}/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid.replaceAll("-", "_")}.slice`;
  }

  /** UpdateAllocatedDevices (manager.go): the records of pods that ended go from memory, and from the file when it is written next. */
  updateAllocatedDevices(): void {
    this.#records = this.#records.filter(({ pod }) => this.#isRunning(pod) || this.#awaited.has(pod));
  }

  #isRunning(pod: string): boolean {
    return this.allocations.some((each) => each.pod === pod);
  }

  #end(pod: string): void {
    const others = this.allocations.filter((each) => each.pod !== pod);
    this.allocations.splice(0, this.allocations.length, ...others);
    const cgroup = this.cgroupOf(pod);
    if (cgroup !== null) removeCgroup(cgroup);
  }

  makeCgroup(pod: string): void {
    const cgroup = this.cgroupOf(pod);
    if (cgroup !== null) mkdirSync(`${cgroup}/cri-containerd-0.scope`, { recursive: true });
  }

  /** The cgroups above those of pods. */
  #podFolders(): string[] {
    if (this.#cgroups === null || this.#habits.cgroupDriver === null) return [];
    return [`${this.#cgroups}/${this.#habits.cgroupDriver === "cgroupfs" ? "kubepods" : "kubepods.slice"}`];
  }

  /** The answer of pod-resources List (KEP-606): active pods. */
  podResources(): PodResources[] {
    if (!this.#habits.namesPods) return [];
    const pods = Map.groupBy(this.allocations, ({ pod }) => pod);
    const claiming = this.#habits.claims.map(({ pod, driver, device }) => ({
      name: pod,
      namespace: "default",
      containers: [
        {
          name: "app",
          devices: [],
          cpuIds: [],
          memory: [],
          dynamicResources: [
            {
              claimName: `${pod}-claim`,
              claimNamespace: "default",
              claimResources: [{ cdiDevices: [], driverName: driver, poolName: "pool", deviceName: device }],
            },
          ],
        },
      ],
    }));
    const allocated = [...pods].map(([name, inPod]) => ({
      name,
      namespace: "default",
      containers: [...Map.groupBy(inPod, ({ container }) => container)].map(([container, held]) => ({
        name: container,
        devices: held.map(({ resource, ids }) => ({
          resourceName: resource,
          deviceIds: [...ids],
          topology: undefined,
        })),
        cpuIds: [],
        memory: [],
        dynamicResources: [],
      })),
      cpuIds: [],
      memory: [],
    }));
    return [...allocated, ...claiming] as unknown as PodResources[];
  }

  /** The checkpoint file, in which plugins can read what pods hold; `registered` are the healthy devices of each resource. */
  checkpoint(folder: string, registered: Readonly<Record<string, readonly string[]>>): void {
    const entries = this.#records.map(({ pod, container, resource, ids, answer }) => ({
      PodUID: podUid(pod),
      ContainerName: container,
      ResourceName: resource,
      DeviceIDs: { "-1": ids },
      AllocResp: Buffer.from(ContainerAllocateResponse.encode(answer).finish()).toString("base64"),
    }));
    const data = { PodDeviceEntries: entries, RegisteredDevices: registered };
    const path = `${folder}/kubelet_internal_checkpoint`;
    // As the kubelet's store (pkg/kubelet/util/store/filestore.go): by rename.
    writeFileSync(`${path}.tmp`, JSON.stringify({ Data: data, Checksum: 0 }));
    renameSync(`${path}.tmp`, path);
  }
}

/** Removes a cgroup and those below it as the kernel lets it be done, folder by folder: the files in it can't be removed. */
function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const each of readdirSync(folder, { withFileTypes: true }))
    if (each.isDirectory()) removeCgroup(`${folder}/${each.name}`);
  rmdirSync(folder);
}
