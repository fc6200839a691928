// The node of a soak: its PFs, what is counted, and the changes that several actions have in common.

import { readlinkSync } from "node:fs";
import { basename } from "node:path";
import { addVf, setVfLinkState } from "../support/live.ts";
import type { PfPlan } from "../support/node-plan.ts";
import type { TestNode } from "../support/plugin.ts";
import type { Random } from "../support/random.ts";
import type { Fabric, Truth, Vf } from "./truth.ts";

/** What an action acts on. */
export interface World {
  readonly node: TestNode;
  readonly truth: Truth;
  readonly random: Random;
  /** Counts what is done beyond the rows' names: allocations, refused ones. */
  readonly counts: Map<string, number>;
  /** Starts the plugin as this soak does. */
  readonly startPlugin: () => void;
  /** Whether the plugin may be ended and started again in this phase. */
  readonly restarts: boolean;
  pods: number;
}

const uplink = { nic: "connectx6", eswitch: "switchdev", switchId: "000000000000c0ff" } as const;

/** One PF of each kind: an E810, an X520, an InfiniBand port, and the two ports of a bond in hardware. */
export const pfs = [
  { name: "ens1f0", address: "0000:3b:00.0", fabric: "link, unless set down", plan: { nic: "e810" } },
  { name: "ens2f0", address: "0000:5e:00.0", fabric: "link", plan: { nic: "x520" } },
  {
    name: "ibs3",
    address: "0000:86:00.0",
    fabric: "port",
    plan: { nic: "connectx6", linkType: "infiniband", rdma: true },
  },
  { name: "p0", address: "0000:a1:00.0", fabric: "bond", plan: uplink },
  { name: "p1", address: "0000:a5:00.0", fabric: "bond", plan: uplink },
] as const satisfies readonly {
  readonly name: string;
  readonly address: string;
  readonly fabric: Fabric;
  readonly plan: Omit<PfPlan, "name" | "address">;
}[];

/** The bond's interface, and its ports. */
export const bond = { name: "bond0", ports: ["p0", "p1"] } as const;

/** At most so many VFs a PF. */
export const mostVfs = 12;

export const drivers = ["iavf", "vfio-pci"] as const;

const groupOf = ({ root }: TestNode, address: string): string =>
  basename(readlinkSync(`${root}/sys/bus/pci/devices/${address}/iommu_group`));

/** The kubelet admits again the pods of before a reboot, by its cached answers: each gets what it had, or is rejected. */
export function readmitPods({ node, truth, counts }: World): void {
  for (const pod of new Set(node.kubelet.endedRecords.map((each) => each.pod))) {
    const records = node.kubelet.endedRecords.filter((each) => each.pod === pod);
    try {
      node.kubelet.readmit(pod);
    } catch (error) {
      if (!String(error).includes("no longer healthy")) throw error;
      count(counts, "rejected after a reboot");
      continue;
    }
    count(counts, "admitted again after a reboot");
    for (const { resource, ids, answer } of records) {
      for (const address of ids) {
        const vf = truth.vfs.get(address);
        const groups = answer.devices.map(({ hostPath }) => /^\/dev\/vfio\/(\d+)$/.exec(hostPath)?.[1]).filter(Boolean);
        if (vf?.driver === "vfio-pci" && groups.length > 0 && !groups.includes(groupOf(node, address)))
          throw new Error(`${pod} was started with groups ${groups.join()}, and ${address} is in none of them`);
        truth.held.set(address, { pod, resource, address, bringBack: null });
      }
    }
  }
}

export const count = (counts: Map<string, number>, what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);

/** A VF more below a PF, with a driver by chance. */
export function makeVf({ node, truth, random }: Pick<World, "node" | "truth" | "random">, pf: string): void {
  const { address: parent, fabric } = pfs.find(({ name }) => name === pf)!;
  const driver = random.of(drivers);
  const index = truth.of(pf).length;
  const address = addVf(node.root, parent, { driver });
  // A re-created VF begins with the driver's policy, whatever the one before had: mlx5 says "disable" of those of InfiniBand
  // and of switchdev mode.
  const linkState = fabric === "port" || fabric === "bond" ? "disable" : "auto";
  setVfLinkState(node.root, pf, index, linkState);
  truth.vfs.set(address, { address, pf, index, driver, linkState });
}

export function endPod(node: TestNode, truth: Truth, pod: string): void {
  for (const holding of [...truth.held.values()].filter((each) => each.pod === pod)) {
    holding.bringBack?.();
    truth.held.delete(holding.address);
  }
  node.kubelet.release(pod);
}

export function pfOf(truth: Truth, name: string) {
  const pf = truth.pfs.get(name);
  if (!pf) throw new Error(`no PF is named ${name}`);
  return pf;
}

export const anyVf = (truth: Truth, random: Random): Vf | null =>
  truth.vfs.size === 0 ? null : random.of([...truth.vfs.values()]);

export function freeVf(truth: Truth, random: Random): Vf | null {
  const free = [...truth.vfs.values()].filter(({ address }) => !truth.held.has(address));
  return free.length === 0 ? null : random.of(free);
}
