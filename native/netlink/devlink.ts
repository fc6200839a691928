// What does devlink report about devices (include/uapi/linux/devlink.h): which exist, eswitch mode, versions, enable_rdma?
// Reads only. Without the devlink family every answer is empty or null.

import { terminated } from "../bytes.ts";
import type { GenericFamily, GenericNetlink } from "./generic.ts";
import { type Attribute, type Attributes, decodeAttributes } from "./message.ts";
import { NetlinkError } from "./socket.ts";

export const DEVLINK_FAMILY = "devlink";
/** The multicast group that announces devices, ports and parameters. */
export const DEVLINK_CONFIG_GROUP = "config";

const DEVLINK_CMD_GET = 1;
const DEVLINK_CMD_ESWITCH_GET = 29;
const DEVLINK_CMD_PARAM_GET = 38;
const DEVLINK_CMD_INFO_GET = 51;
const DEVLINK_ATTR_BUS_NAME = 1;
const DEVLINK_ATTR_DEV_NAME = 2;
const DEVLINK_ATTR_ESWITCH_MODE = 25;
const DEVLINK_ATTR_PARAM = 80;
const DEVLINK_ATTR_PARAM_NAME = 81;
const DEVLINK_ATTR_PARAM_VALUES_LIST = 84;
const DEVLINK_ATTR_PARAM_VALUE = 85;
const DEVLINK_ATTR_PARAM_VALUE_DATA = 86;
const DEVLINK_ATTR_PARAM_VALUE_CMODE = 87;
const DEVLINK_ATTR_INFO_DRIVER_NAME = 98;
const DEVLINK_ATTR_INFO_SERIAL_NUMBER = 99;
const DEVLINK_ATTR_INFO_VERSION_NAME = 103;
const DEVLINK_ATTR_INFO_VERSION_VALUE = 104;
export const DEVLINK_PARAM_CMODE_RUNTIME = 0;
export const DEVLINK_PARAM_CMODE_DRIVERINIT = 1;

// Fixed, running, stored, in the kernel's order: a stored version must not hide the running one of the same name.
const versionNests = [102, 100, 101];

const eswitchModes: Readonly<Record<number, EswitchMode>> = { 0: "legacy", 1: "switchdev" };

export type EswitchMode = "legacy" | "switchdev";

export interface DevlinkDevice {
  /** "pci" or "auxiliary". */
  readonly bus: string;
  /** "0000:3b:00.0" or "mlx5_core.sf.4". */
  readonly device: string;
}

export interface DevlinkInfo {
  readonly driver: string | null;
  readonly serial: string | null;
  /** Versions by name ("fw.app.name"); the running one wins over the fixed and the stored one. */
  readonly versions: Readonly<Record<string, string>>;
}

/** Every devlink device of this network namespace; none when the family is absent. Throws what NetlinkSocket.dump throws. */
export function readDevlinkDevices(generic: GenericNetlink): DevlinkDevice[] {
  const family = generic.family(DEVLINK_FAMILY);
  if (family === null) return [];
  return generic
    .dump(family, DEVLINK_CMD_GET)
    .map(({ attributes }) => decodeDevlinkDevice(attributes))
    .filter((device) => device !== null);
}

/**
 * The eswitch mode of a device; null when it has no devlink instance or its driver no eswitch. The kernel demands
 * CAP_NET_ADMIN (GENL_ADMIN_PERM in net/devlink/netlink_gen.c): without it this throws NetlinkError with code EPERM.
 */
export function readEswitchMode(generic: GenericNetlink, bus: string, device: string): EswitchMode | null {
  const family = generic.family(DEVLINK_FAMILY);
  const attributes = ask(generic, family, DEVLINK_CMD_ESWITCH_GET, handleOf({ bus, device }));
  return attributes === null ? null : decodeEswitchMode(attributes);
}

/**
 * Driver, serial number and versions of a device, as its driver reports them; null when it has no devlink instance or reports
 * nothing. Some drivers query their firmware. Throws what NetlinkSocket.request throws.
 */
export function readDevlinkInfo(generic: GenericNetlink, bus: string, device: string): DevlinkInfo | null {
  const family = generic.family(DEVLINK_FAMILY);
  const attributes = ask(generic, family, DEVLINK_CMD_INFO_GET, handleOf({ bus, device }));
  return attributes === null ? null : decodeDevlinkInfo(attributes);
}

/** readDevlinkInfo of all devices in one dump, by "bus/device". One failing driver fails the dump: throws what NetlinkSocket.dump throws. */
export function readDevlinkInfos(generic: GenericNetlink): Map<string, DevlinkInfo> {
  const infos = new Map<string, DevlinkInfo>();
  const family = generic.family(DEVLINK_FAMILY);
  if (family === null) return infos;
  for (const { attributes } of generic.dump(family, DEVLINK_CMD_INFO_GET)) {
    const device = decodeDevlinkDevice(attributes);
    if (device !== null) infos.set(devlinkKey(device), decodeDevlinkInfo(attributes));
  }
  return infos;
}

/**
 * The driverinit value of enable_rdma by "bus/device", of those of the given devices that have it. Throws what
 * NetlinkSocket.request throws.
 */
export const readEnableRdma = (
  generic: GenericNetlink,
  devices: readonly DevlinkDevice[] = readDevlinkDevices(generic),
): Map<string, boolean> => readFlags(generic, devices, "enable_rdma", DEVLINK_PARAM_CMODE_DRIVERINIT);

/**
 * The value of esw_multiport by "bus/device", of those of the given devices that have it: whether the uplinks of the NIC are ports
 * of one eswitch (mlx5/core/eswitch.c, mlx5_devlink_esw_multiport_get; a flag of the driver, no question to the firmware).
 * Throws what NetlinkSocket.request throws.
 */
export const readEswitchMultiport = (
  generic: GenericNetlink,
  devices: readonly DevlinkDevice[],
): Map<string, boolean> => readFlags(generic, devices, "esw_multiport", DEVLINK_PARAM_CMODE_RUNTIME);

/** A boolean parameter of devices, requested one by one and by name: a dump of all makes drivers read permanent ones from firmware. */
function readFlags(
  generic: GenericNetlink,
  devices: readonly DevlinkDevice[],
  name: string,
  mode: number,
): Map<string, boolean> {
  const values = new Map<string, boolean>();
  const family = devices.length === 0 ? null : generic.family(DEVLINK_FAMILY);
  const parameter = { type: DEVLINK_ATTR_PARAM_NAME, data: terminated(name) };
  for (const device of devices) {
    const attributes = ask(generic, family, DEVLINK_CMD_PARAM_GET, [...handleOf(device), parameter], noSuchParameter);
    const value = attributes === null ? null : decodeFlag(attributes, mode);
    if (value !== null) values.set(devlinkKey(device), value);
  }
  return values;
}

/** "bus/device". */
export const devlinkKey = ({ bus, device }: DevlinkDevice): string => `${bus}/${device}`;

// No instance of that name (any more); no such operation in its driver.
const notApplicable: ReadonlySet<string> = new Set(["ENODEV", "EOPNOTSUPP"]);
// devlink_param_get_from_info in net/devlink/param.c.
const noSuchParameter: ReadonlySet<string> = new Set([...notApplicable, "EINVAL"]);

const handleOf = ({ bus, device }: DevlinkDevice): readonly Attribute[] => [
  { type: DEVLINK_ATTR_BUS_NAME, data: terminated(bus) },
  { type: DEVLINK_ATTR_DEV_NAME, data: terminated(device) },
];

/** One question about one device; null without the family, and when the refusal's code is one of `absent`. */
function ask(
  generic: GenericNetlink,
  family: GenericFamily | null,
  command: number,
  attributes: readonly Attribute[],
  absent = notApplicable,
): Attributes | null {
  if (family === null) return null;
  try {
    return generic.request(family, command, attributes)?.attributes ?? null;
  } catch (error) {
    if (error instanceof NetlinkError && absent.has(error.code)) return null;
    throw error;
  }
}

/** The device that a devlink message is about; null when it names none. */
export function decodeDevlinkDevice(attributes: Attributes): DevlinkDevice | null {
  const bus = attributes.string(DEVLINK_ATTR_BUS_NAME);
  const device = attributes.string(DEVLINK_ATTR_DEV_NAME);
  return bus === null || device === null ? null : { bus, device };
}

/** The mode in an eswitch answer; null for an unknown one. */
export function decodeEswitchMode(attributes: Attributes): EswitchMode | null {
  return eswitchModes[attributes.u16(DEVLINK_ATTR_ESWITCH_MODE) ?? -1] ?? null;
}

/** Driver, serial number and versions in an info answer. Throws NetlinkFormatError. */
export function decodeDevlinkInfo(attributes: Attributes): DevlinkInfo {
  const versions: Record<string, string> = {};
  for (const nest of versionNests) {
    for (const data of attributes.all(nest)) {
      const version = decodeAttributes(data);
      const name = version.string(DEVLINK_ATTR_INFO_VERSION_NAME);
      const value = version.string(DEVLINK_ATTR_INFO_VERSION_VALUE);
      if (name !== null && value !== null) versions[name] = value;
    }
  }
  return {
    driver: attributes.string(DEVLINK_ATTR_INFO_DRIVER_NAME),
    serial: attributes.string(DEVLINK_ATTR_INFO_SERIAL_NUMBER),
    versions,
  };
}

/**
 * The value of a boolean parameter in a mode; null when it has no such value. Its data is a flag, present for true
 * (devlink_nl_param_value_fill_one, net/devlink/param.c).
 */
export function decodeFlag(attributes: Attributes, mode: number): boolean | null {
  const values = attributes.nested(DEVLINK_ATTR_PARAM)?.nested(DEVLINK_ATTR_PARAM_VALUES_LIST);
  for (const data of values?.all(DEVLINK_ATTR_PARAM_VALUE) ?? []) {
    const value = decodeAttributes(data);
    if (value.u8(DEVLINK_ATTR_PARAM_VALUE_CMODE) === mode) return value.has(DEVLINK_ATTR_PARAM_VALUE_DATA);
  }
  return null;
}
