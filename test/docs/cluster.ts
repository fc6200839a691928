// How do the names that the pages use become those of the lab's cluster? The commands are those of the page; what differs is the image,
// the NIC, and a CNI plugin that gives a VF to a pod without the PF's netlink interface, which the emulated NIC has only in part.

import { toLab } from "./lab.ts";

/** Every exchange, in the order in which it is made. */
const exchanges: readonly (readonly [inPages: RegExp, inCluster: string])[] = [
  [/\bens1f0\b/g, "pf0"],
  [/"type": "sriov"/g, '"type": "host-device"'],
  [/\bbusybox:1\.37\b/g, "lab.local/busybox:1"],
  [/\bworker\b/g, "lab"],
];

/** A command or a file of a page, with the cluster's names in it. `version` is the tag of the image under test. */
export const toCluster = (text: string, version: string): string =>
  exchanges
    .reduce((result, [inPages, inCluster]) => result.replace(inPages, inCluster), toLab(text))
    .replaceAll("localhost/sriovdp:TAG", `localhost/sriovdp:${version}`);

/** What a page says is printed, with the cluster's names in it. Which of the VFs a pod has is the kubelet's choice. */
export const printedInCluster = (text: string, version: string): string =>
  toCluster(text.replaceAll(/0000:3b:01\.\d/g, "0000:41:1…").replaceAll(/\bVF \d of\b/g, "VF … of"), version);
