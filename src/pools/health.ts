// May the kubelet hand this device to a pod now? A pure function of facts; an unknown state is healthy. Only what no CNI and no pod
// can change counts: a device that is Unhealthy is never allocated, so what is set at allocation could never come to be.

import type { Device, Port } from "../host/device.ts";
import { adminDownRule, type RuleResult } from "./admin-down.ts";
import type { Claim, Pool, PoolSpec } from "./pool.ts";

/** Operational states in which a link can carry traffic (Documentation/networking/operstates.rst). */
const usable: ReadonlySet<string> = new Set(["up", "unknown", "dormant"]);

/** Says why a claimed device is not healthy, as a sentence's end; null when it is. */
export function unhealthyReason({ device, basis }: Claim, spec: Pick<PoolSpec, "linkHealth">): string | null {
  return (
    missingDriver(device) ?? missingNode(device) ?? onItsWay(basis) ?? (spec.linkHealth ? brokenLink(device) : null)
  );
}

// The pod that holds it is not disturbed; but no other pod may be given it here when that one ends.
const onItsWay = (basis: Claim["basis"]) =>
  basis === "draining" ? "it is allocated to a pod, and this pool no longer selects it" : null;

const missingDriver = (device: Device) => (device.driver === null ? "no driver is bound to it any more" : null);

function missingNode({ vfio, uio, vdpa }: Device): string | null {
  if (vdpa?.type === "vhost" && vdpa.node === null) return `the vhost-vdpa device of ${vdpa.name} is gone`;
  const node = vfio?.node ?? uio ?? vdpa?.node;
  return node && !node.present ? `its character device ${node.path} is gone` : null;
}

/** The link part: why the device can't reach the network; null when it can, or when that is not known. */
export const brokenLink = (device: Device): string | null => {
  const { isDown, rule } = linkRule(device);
  return isDown === true ? rule : null;
};

/** The rule that decides about a device's link, where there is more to it than a PF's link that is up; null otherwise. */
export const notableLinkRule = (device: Device): string | null => {
  const { isDown, rule, isNotable = true } = linkRule(device);
  return isDown !== true && isNotable ? rule : null;
};

interface LinkRule extends RuleResult {
  readonly isNotable?: boolean;
}

/**
 * Which rule decides about a device's link, and its result, as the end of a sentence.
 *
 * A VF follows its PF's ports. Its own interface does not count: it is down while unused and invisible while a pod uses it. Neither
 * is a link-state policy of "disable": CNIs set it at ADD, fresh mlx5 InfiniBand VFs have it (kernel commit 64d701c608fe), and in
 * switchdev mode it is not even read.
 */
function linkRule(device: Device): LinkRule {
  const { pf } = device;
  if (!pf) return ownPorts(device);
  if (device.vfLinkState === "enable") {
    return { isDown: false, rule: "its link state is set to enable at its PF, so the PF's link does not count" };
  }
  if (pf.sharedPorts) {
    const { bond, ports } = pf.sharedPorts;
    const shared = bond === null ? "the multiport eswitch" : `the hardware bond ${bond}`;
    return together(ports.map(ruleOfPf), `of ${shared} `, ports);
  }
  const used = pf.ports.filter((port) => device.pfPorts.some((own) => isSamePort(port, own)));
  const ports = used.length > 0 ? used : pf.ports;
  return together(ports.map(ruleOfPf), used.length > 0 ? "that it uses " : "of its PF ", ports);
}

/** Two functions of a NIC share a port when both have the same port id, or, where one has none, the same number. */
const isSamePort = (a: Pick<Port, "portId" | "devPort">, b: Pick<Port, "portId" | "devPort">): boolean =>
  a.portId !== null && b.portId !== null ? a.portId === b.portId : a.devPort !== null && a.devPort === b.devPort;

/** A function that uses several ports has lost the network only when all are down. */
function together(results: readonly LinkRule[], which: string, ports: readonly Port[]): LinkRule {
  const [first] = results;
  if (!first) return { isDown: null, rule: "no port of its PF is visible, so its link state is unknown" };
  if (results.length === 1) return first;
  if (results.every(({ isDown }) => isDown === true)) {
    return { isDown: true, rule: `all ports ${which}are down: ${results.map(({ rule }) => rule).join("; ")}` };
  }
  const names = ports.map(({ name }) => name).join(", ");
  return { isDown: false, rule: `not all ports ${which}are down (${names})` };
}

/** What the state of a PF's port means for the functions below the PF. */
function ruleOfPf(port: Port): LinkRule {
  if (port.isInfiniband) return infinibandRule(port, "its PF's port");
  const { link } = port;
  if (!link) return { isDown: null, rule: `the link of its PF ${port.name} is not visible` };
  if (!link.adminUp) {
    const { isDown, rule } = adminDownRule(port);
    return { isDown, rule: `its PF ${link.interfaceName} ${rule}` };
  }
  if (usable.has(link.operstate))
    return { isDown: false, rule: `its PF ${link.interfaceName} is up`, isNotable: false };
  return (
    waiting(port, "its PF") ?? { isDown: true, rule: `the link of its PF ${link.interfaceName} is ${link.operstate}` }
  );
}

/** What the port's own state means: down is down; a port that the subnet manager has not set up yet is not. */
function infinibandRule(port: Port, which: string): RuleResult {
  const { name, infinibandState } = port;
  if (infinibandState === null) return { isDown: null, rule: `the state of ${which} ${name} can't be read` };
  const rule = `${which} ${name} is ${infinibandState}`;
  return infinibandState === "DOWN" ? (waiting(port, which) ?? { isDown: true, rule }) : { isDown: false, rule };
}

/** A carrier that can't be there yet. */
const waiting = ({ name, graceEnds }: Port, which: string): RuleResult | null =>
  graceEnds === null
    ? null
    : {
        isDown: null,
        rule: `${which} ${name} has not had a carrier yet; this is ignored for 30 s after it appeared or was set up`,
      };

/** A function without PF: it is administratively down on the host, and a pod will set it up. */
function ownPorts({ ports }: Device): LinkRule {
  if (ports.length === 0) return { isDown: null, rule: "it has no visible interface", isNotable: false };
  return together(ports.map(ruleOfOwn), "that it has ", ports);
}

function ruleOfOwn(port: Port): LinkRule {
  if (port.isInfiniband) return infinibandRule(port, "its port");
  const { link } = port;
  if (!link?.adminUp || link.carrier !== false)
    return { isDown: false, rule: `its interface ${port.name} is not known to lack a carrier`, isNotable: false };
  return waiting(port, "its interface") ?? { isDown: true, rule: `its interface ${port.name} has no carrier` };
}

/** Whether a PF's port is down for the functions below the PF; what is unknown is not. */
export const isDownForVfs = (port: Port): boolean => ruleOfPf(port).isDown === true;

/** Whether a port is down for the function itself; what is unknown is not. */
export const isDownForPf = (port: Port): boolean => ruleOfOwn(port).isDown === true;

/** The ports that decide about a device. */
const decidingPorts = ({ pf, ports }: Device): readonly Port[] => pf?.sharedPorts?.ports ?? pf?.ports ?? ports;

/** How often the states of InfiniBand ports are read, in milliseconds: the kernel sends no event for them. */
const infinibandPoll = 5000;

/** The functions whose InfiniBand port states a scan of links must read: each read queries the NIC. */
export function infinibandOwners(pools: Iterable<Pool>): ReadonlySet<string> {
  const owners = new Set<string>();
  for (const { spec, claims } of pools) {
    if (!spec.linkHealth) continue;
    for (const { device } of claims.values()) {
      for (const { isInfiniband, owner } of decidingPorts(device)) if (isInfiniband) owners.add(owner);
    }
  }
  return owners;
}

/**
 * In how many milliseconds links have to be scanned again though no event comes: the first carrier that is waited for is late then, or
 * InfiniBand ports are to be read. Null when no device of a pool needs it. `now` is the time on recall's clock.
 */
export function nextLinkScan(pools: Iterable<Pool>, now: number): number | null {
  let next: number | null = null;
  const at = (delay: number) => (next = Math.min(next ?? Infinity, Math.max(0, delay)));
  const seen = new Set<readonly Port[]>();
  for (const { spec, claims } of pools) {
    if (!spec.linkHealth) continue;
    for (const { device } of claims.values()) {
      const ports = decidingPorts(device);
      // VFs of one PF share its ports.
      if (seen.has(ports)) continue;
      seen.add(ports);
      for (const { isInfiniband, graceEnds } of ports) {
        if (isInfiniband) at(infinibandPoll);
        if (graceEnds !== null) at(graceEnds - now);
      }
    }
  }
  return next;
}
