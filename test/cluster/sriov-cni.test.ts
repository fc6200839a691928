// A genuine sriov-cni, where SRIOVDP_SRIOV_CNI names one: the shipped network gives pods their VF with VLAN and spoof check, and takes both back.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { testWhere } from "../packaging/needs.ts";
import { objectsOf } from "../support/kubernetes.ts";
import { apply, clusterTest, hasCluster, kubectl, onNode, waitFor } from "./cluster.ts";
import {
  addressOf,
  createNetwork,
  deployBase,
  deployments,
  deviceOf,
  interfacesOnNode,
  netdevice,
  podWith,
  startPods,
} from "./plugin.ts";

const missing = process.env["SRIOVDP_SRIOV_CNI"] === undefined ? "SRIOVDP_SRIOV_CNI names no sriov-cni" : null;
const sriovTest = missing === null ? clusterTest : testWhere.bind(null, missing);
const pods = ["first", "second"];
/** The pods' VFs, by pod. */
const devices = new Map<string, string>();

beforeAll(async () => {
  if (!hasCluster || missing !== null) return;
  await Promise.all([deployBase(), createNetwork()]);
  await apply(...objectsOf(readFileSync(join(deployments, "examples/networks/sriov.yaml"), "utf8")));
});

afterAll(async () => {
  if (hasCluster && missing === null) await kubectl("delete", "pods", "--all", "--namespace=default");
});

interface VfSettings {
  readonly vf: number;
  readonly spoofchk?: boolean;
  readonly trust?: boolean;
  readonly vlan_list?: readonly { readonly vlan?: number }[];
}

/** What `ip -j link show` says of a VF at its PF. */
async function settingsOf(device: string): Promise<{ vlan: number; spoofchk: unknown; trust: unknown }> {
  const [pf, index] = (
    await onNode(`
      for link in /sys/class/net/pf*/device/virtfn*; do
        [ "$(basename $(readlink $link))" = ${device} ] || continue
        pf=\${link#/sys/class/net/}
        echo \${pf%%/*} \${link##*virtfn}
      done`)
  ).split(" ");
  const [link] = JSON.parse(await onNode(`ip -j link show ${pf}`)) as { vfinfo_list: VfSettings[] }[];
  const settings = link?.vfinfo_list.find(({ vf }) => vf === Number(index));
  if (settings === undefined) throw new Error(`ip shows no VF ${index} of ${pf}`);
  const { vlan_list: vlans, spoofchk, trust } = settings;
  return { vlan: vlans?.[0]?.vlan ?? 0, spoofchk, trust };
}

describe("two pods in the shipped network of sriov-cni", () => {
  sriovTest("have the VF of their variable as net1, with an address", async () => {
    await startPods(...pods.map((name) => podWith(name, netdevice, "sriov-net")));
    for (const pod of pods) {
      const device = await deviceOf(pod);
      devices.set(pod, device);
      expect(await addressOf(pod)).toMatch(/^10\.56\.217\.\d+$/);
      const link = await kubectl("exec", pod, "--", "readlink", "/sys/class/net/net1/device");
      expect(link.trim()).toEndWith(`/${device}`);
    }
    expect(new Set(devices.values()).size).toBe(2);
  });

  sriovTest("have its VLAN, its spoof check and no trust, as ip shows them at the PF", async () => {
    for (const device of devices.values())
      expect(await settingsOf(device)).toEqual({ vlan: 100, spoofchk: true, trust: false });
  });

  sriovTest("reach each other in the VLAN", async () => {
    const to = await addressOf("second");
    const ping = await kubectl("exec", "first", "--", "ping", "-c", "3", "-W", "10", "-I", "net1", to);
    expect(ping).toContain(" 0% packet loss");
  });

  sriovTest("leave a VF without a VLAN, under its name, when they are deleted", async () => {
    await kubectl("delete", "pods", ...pods);
    const all = [...devices.values()];
    let last: Record<string, string> = {};
    await waitFor(
      "the VFs are back",
      async () => Object.values((last = await interfacesOnNode(...all))).every(Boolean),
      { found: () => last },
    );
    for (const name of Object.values(last)) expect(name).toMatch(/^pf[01]v[23]$/);
    for (const device of all) expect(await settingsOf(device)).toMatchObject({ vlan: 0 });
  });
});
