// May the kubelet hand this device to a pod now? A pure function of facts; an unknown state is healthy.

import type { Device, LinkState } from "../host/device.ts";
import type { Claim, PoolSpec } from "./pool.ts";

/** Operational states in which a link can carry traffic (Documentation/networking/operstates.rst). */
const usable: ReadonlySet<string> = new Set(["up", "unknown", "dormant"]);

/** Says why a claimed device is not healthy, as a sentence's end; null when it is. */
export function unhealthiness({ device, standing }: Claim, spec: Pick<PoolSpec, "linkHealth">): string | null {
  return (
    missingDriver(device) ?? missingNode(device) ?? onItsWay(standing) ?? (spec.linkHealth ? brokenLink(device) : null)
  );
}

// The pod that holds it is not disturbed; but no other pod may be given it here when that one ends.
const onItsWay = (standing: Claim["standing"]) =>
  standing === "leaving" ? "it is allocated to a pod, and this pool no longer selects it" : null;

const missingDriver = (device: Device) => (device.driver === null ? "no driver is bound to it any more" : null);

function missingNode({ vfio, uio, vdpa }: Device): string | null {
  const node = vfio?.node ?? uio ?? vdpa?.node;
  return node && !node.present ? `its character device ${node.path} is gone` : null;
}

/**
 * The link part: a VF follows its own policy at the PF, or the PF; what has no PF follows its own interface.
 *
 * A VF's own interface is no signal: it is down while nobody uses it and invisible while a pod does
 * (KERNEL: drivers set the VF's link from the PF's, see `ip link set PF vf N state`).
 */
export function brokenLink(device: Device): string | null {
  if (device.pf) {
    if (device.vfLinkState === "disable") return "its link state is set to disable at its PF";
    if (device.vfLinkState === "enable") return null;
    return pfIsDown(device.pf.link);
  }
  const link = device.link;
  return link && link.adminUp && link.carrier === false ? `its interface ${link.interfaceName} has no carrier` : null;
}

function pfIsDown(link: LinkState | null): string | null {
  if (!link) return null;
  if (!link.adminUp) return `its PF ${link.interfaceName} is administratively down`;
  return usable.has(link.operstate) ? null : `the link of its PF ${link.interfaceName} is ${link.operstate}`;
}
