// What does the kernel report through netlink? One record a scan, read in a constant number of dumps.
// For a recorded tree (any root other than the node itself) the same record is in <root>/netlink.json.

import { classPath } from "./node-paths.ts";
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { basename } from "node:path";
import { readPrivateFlag } from "../../native/ethtool.ts";
import { readAttribute, readLinkName } from "../../native/files.ts";
import {
  devlinkKey,
  readDevlinkDevices,
  readDevlinkInfo,
  readEnableRdma,
  readEswitchMode,
  readEswitchMultiport,
} from "../../native/netlink/devlink.ts";
import { GenericNetlink } from "../../native/netlink/generic.ts";
import { SystemError } from "../../native/libc.ts";
import { IFF_UP, type Link, readDefaultRouteExits, readLinks } from "../../native/netlink/route.ts";
import { NETLINK_ROUTE, NetlinkError, NetlinkSocket } from "../../native/netlink/socket.ts";
import { readVdpaDevices, type VdpaDevice } from "../../native/netlink/vdpa.ts";
import { tryRead, orUnknown, type ReadProblem } from "./read-problem.ts";

/** A devlink instance ("pci/0000:3b:00.0", "auxiliary/mlx5_core.sf.4") and what it reported. */
export interface DevlinkFacts {
  readonly bus: string;
  readonly device: string;
  /** null: the driver has no eswitch, or the answer was denied (then sysfs decides). */
  readonly eswitchMode: "legacy" | "switchdev" | null;
  /** The running value of fw.app.name, the DDP profile of 800 series; null when not reported or not requested. */
  readonly ddpProfile: string | null;
  /** The value of enable_rdma; null when the driver has no such parameter or it was not requested. */
  readonly enableRdma: boolean | null;
  /** The value of esw_multiport; null when the driver has no such parameter or it was not requested, absent in older recordings. */
  readonly eswMultiport?: boolean | null;
}

/** What a driver reported about an interface through ethtool. */
export interface EthtoolFacts {
  readonly interfaceName: string;
  /** The private flag link-down-on-close. */
  readonly linkDownOnClose: boolean;
}

/** Everything that netlink reported in one scan. */
export interface KernelFacts {
  readonly links: readonly Link[];
  /** Interface indexes by which IPv4 and IPv6 default routes of the main table leave. */
  readonly defaultRouteExits: readonly number[];
  /** Those with a route that does not come from a router advertisement; may be missing in a recorded node. */
  readonly configuredRouteExits?: readonly number[];
  readonly devlink: readonly DevlinkFacts[];
  readonly vdpa: readonly VdpaDevice[];
  /** Of interfaces that are administratively down, where the driver has the flag. */
  readonly ethtool: readonly EthtoolFacts[];
}

/** Which devlink instance gets which requests: only those that may answer, since each value is one request. */
export interface DevlinkQuestions {
  readonly eswitch: (key: string) => boolean;
  readonly ddpProfile: (key: string) => boolean;
  readonly enableRdma: (key: string) => boolean;
  readonly eswMultiport: (key: string) => boolean;
  /** Of the PCI function at an address, when its interface is administratively down. */
  readonly linkDownOnClose: (address: string) => boolean;
}

/** Whether a root holds a recorded tree; "" is the node itself. */
export const isRecorded = (root: string): boolean => root !== "";

/**
 * Reads links and routes, and everything else unless `earlier` facts are given to take it from.
 *
 * Throws when links or routes can't be read: without them the host's own uplink could be offered. A problem with devlink
 * or vDPA is noted in `problems`; their facts are then absent.
 */
export function readKernelFacts(
  root: string,
  questions: DevlinkQuestions,
  earlier: KernelFacts | null,
  problems: ReadProblem[],
  reached: (what: string) => void,
): KernelFacts {
  if (isRecorded(root)) return readRecorded(root);
  reached("links and routes");
  const routes = readRoutes(root);
  const ethtool = readEthtool(routes.links, questions, problems, reached);
  if (earlier) return { ...earlier, ...routes, ethtool };
  const generic = new GenericNetlink();
  try {
    return {
      ...routes,
      devlink: tryRead(problems, "devlink", "devlink", () => readDevlink(generic, questions, problems, reached)) ?? [],
      vdpa:
        tryRead(problems, "vdpa", "vDPA", () => {
          reached("vDPA devices");
          return readVdpaDevices(generic);
        }) ?? [],
      ethtool,
    };
  } finally {
    generic.close();
  }
}

const recordedName = "netlink.json";

function readRecorded(root: string): KernelFacts {
  const path = `${root}/${recordedName}`;
  const nothing: KernelFacts = { links: [], defaultRouteExits: [], devlink: [], vdpa: [], ethtool: [] };
  if (!existsSync(path)) return nothing;
  const text = readFileSync(path, "utf8");
  try {
    const facts = { ...nothing, ...(JSON.parse(text) as Partial<KernelFacts>) };
    const { links: recorded, defaultRouteExits, configuredRouteExits, ...others } = facts;
    const links = recorded.map((link) => completed(root, link));
    // In the order in which the live kernel's facts are written down.
    return { links, defaultRouteExits, ...(configuredRouteExits && { configuredRouteExits }), ...others };
  } catch (cause) {
    throw new Error(`${path} is not the JSON of a recorded node`, { cause });
  }
}

/** A recorded link with what older recordings have in sysfs alone. */
function completed(root: string, link: Link): Link {
  const read = (name: string) => orUnknown(() => readAttribute(classPath(root, `net/${link.name}/${name}`)));
  const ups = link.carrierUps === undefined ? read("carrier_up_count") : null;
  const portId = link.portId === undefined ? read("phys_port_id") : null;
  return {
    ...link,
    ...(ups !== null && /^\d+$/.test(ups) ? { carrierUps: Number(ups) } : {}),
    ...(portId ? { portId } : {}),
  };
}

function readRoutes(root: string): Pick<KernelFacts, "links" | "defaultRouteExits" | "configuredRouteExits"> {
  const socket = new NetlinkSocket(NETLINK_ROUTE);
  try {
    const links = withParents(root, readLinks(socket));
    const { all, configured } = readDefaultRouteExits(socket);
    return { links, defaultRouteExits: all, configuredRouteExits: configured };
  } finally {
    socket.close();
  }
}

/** Queries the drivers of PFs that are administratively down whether the port is down too. */
function readEthtool(
  links: readonly Link[],
  questions: DevlinkQuestions,
  problems: ReadProblem[],
  reached: (what: string) => void,
): EthtoolFacts[] {
  return links.flatMap(({ name, flags, parentBus, parentDevice }) => {
    if ((flags & IFF_UP) !== 0 || parentBus !== "pci" || parentDevice === null) return [];
    if (!questions.linkDownOnClose(parentDevice)) return [];
    const key = `ethtool ${name}`;
    reached(`private flags of ${name}`);
    const linkDownOnClose = tryRead(problems, key, `the private flag of ${name}`, () => privateFlag(name));
    return linkDownOnClose === null ? [] : [{ interfaceName: name, linkDownOnClose }];
  });
}

/** The flag's value; null also for an interface that has left or was renamed since it was listed: another scan follows. */
function privateFlag(interfaceName: string): boolean | null {
  try {
    return readPrivateFlag(interfaceName, "link-down-on-close");
  } catch (error) {
    if (error instanceof SystemError && error.code === "ENODEV") return null;
    throw error;
  }
}

/** The name of what a link leads to; null when it leads nowhere, or has left with its interface. */
function nameOf(link: string): string | null {
  try {
    return basename(realpathSync(link));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Kernels before 5.14 do not report a link's parent device (IFLA_PARENT_DEV_NAME); then sysfs does. */
function withParents(root: string, links: readonly Link[]): readonly Link[] {
  if (links.some(({ parentDevice }) => parentDevice !== null)) return links;
  return links.map((link) => {
    const device = classPath(root, `net/${link.name}/device`);
    const parentDevice = nameOf(device);
    if (parentDevice === null) return link;
    return Object.assign({}, link, { parentDevice, parentBus: readLinkName(`${device}/subsystem`) });
  });
}

function readDevlink(
  generic: GenericNetlink,
  questions: DevlinkQuestions,
  problems: ReadProblem[],
  reached: (what: string) => void,
): DevlinkFacts[] {
  reached("devlink devices");
  const devices = readDevlinkDevices(generic);
  const enableRdma = readEnableRdma(
    generic,
    devices.filter((device) => questions.enableRdma(devlinkKey(device))),
  );
  const eswMultiport = readEswitchMultiport(
    generic,
    devices.filter((device) => questions.eswMultiport(devlinkKey(device))),
  );
  return devices.map(({ bus, device }) => {
    const key = `${bus}/${device}`;
    reached(`devlink ${key}`);
    const read = <T>(question: (device: string) => boolean, fact: () => T) =>
      question(key) ? tryRead(problems, `devlink ${key}`, `devlink ${key}`, fact) : null;
    return {
      bus,
      device,
      eswitchMode: read(questions.eswitch, () => eswitchMode(generic, bus, device)),
      ddpProfile: read(
        questions.ddpProfile,
        () => readDevlinkInfo(generic, bus, device)?.versions["fw.app.name"] ?? null,
      ),
      enableRdma: enableRdma.get(key) ?? null,
      eswMultiport: eswMultiport.get(key) ?? null,
    };
  });
}

/** The eswitch mode; null also when the kernel denies the answer, which needs CAP_NET_ADMIN: then port names decide. */
function eswitchMode(generic: GenericNetlink, bus: string, device: string): DevlinkFacts["eswitchMode"] {
  try {
    return readEswitchMode(generic, bus, device);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "EPERM") return null;
    throw error;
  }
}
