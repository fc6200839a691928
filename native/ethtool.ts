// What does a network driver report through SIOCETHTOOL: its name, its private flags, and the DDP profile of an Intel 700 series NIC?
// Structures are in include/uapi/linux/ethtool.h; firmware commands in drivers/net/ethernet/intel/i40e (i40e_nvm.c, i40e_ddp.c).

import { hostOrder, reader, terminated, textOf, writer } from "./bytes.ts";
import * as libc from "./libc.ts";
import { NETLINK_GENERIC } from "./netlink/socket.ts";

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GDRVINFO = 0x3;
const ETHTOOL_GEEPROM = 0xb;
const ETHTOOL_SEEPROM = 0xc;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GPFLAGS = 0x27;
const ETHTOOL_GSSET_INFO = 0x37;
const ETH_SS_PRIV_FLAGS = 2;
const ETH_GSTRING_LEN = 32;
/** The most private flags that a driver can have: the bitmap of ETHTOOL_GPFLAGS has 32 bits. */
const PRIVATE_FLAGS = 32;
const DRVINFO_SIZE = 196;
const IFREQ_SIZE = 40;
const IFNAMSIZ = 16;
const DATA_POINTER = 16;

/** Carries out one ethtool command, whose structure the driver changes in place. Throws SystemError. */
export type EthtoolCommand = (structure: Uint8Array) => void;

/** Ethtool commands for an interface of this network namespace, on a socket that `close` gives up. */
export function openEthtool(interfaceName: string): { readonly command: EthtoolCommand; close(): void } {
  const name = terminated(interfaceName);
  if (name.length > IFNAMSIZ) throw new RangeError(`interface name too long: ${interfaceName}`);
  // Any socket takes device ioctls (sock_ioctl in net/socket.c): this kind is allowed to us where AF_INET is not.
  const fd = libc.socket(libc.AF_NETLINK, libc.SOCK_RAW | libc.SOCK_CLOEXEC, NETLINK_GENERIC);
  return {
    command(structure) {
      // struct ifreq: name[16], then a pointer to the command's structure, which the parameter keeps alive.
      const request = writer(IFREQ_SIZE)
        .raw(0, name)
        .u64(DATA_POINTER, BigInt(libc.pointerTo(structure)));
      libc.ioctl(fd, SIOCETHTOOL, request.bytes);
    },
    close: () => libc.close(fd),
  };
}

export interface DriverInfo {
  readonly driver: string;
  readonly version: string;
  readonly firmwareVersion: string;
  /** The parent's address ("0000:3b:00.0"), or "" for a virtual link. */
  readonly bus: string;
}

/** What ETHTOOL_GDRVINFO reports for an interface; needs no privilege. Throws SystemError, EOPNOTSUPP when the driver reports nothing. */
export function readDriverInfo(interfaceName: string): DriverInfo {
  return withEthtool(interfaceName, askDriverInfo);
}

function askDriverInfo(command: EthtoolCommand): DriverInfo {
  const { bytes } = writer(DRVINFO_SIZE).u32(0, ETHTOOL_GDRVINFO);
  command(bytes);
  return decodeDriverInfo(bytes);
}

/** struct ethtool_drvinfo: cmd u32, driver[32], version[32], fw_version[32], bus_info[32], … */
export function decodeDriverInfo(bytes: Uint8Array): DriverInfo {
  const text = (offset: number): string => textOf(bytes.subarray(offset, offset + 32));
  return { driver: text(4), version: text(36), firmwareVersion: text(68), bus: text(100) };
}

/**
 * A private flag of an interface's driver (`ethtool --show-priv-flags`); null when the driver has no flag of that name. Needs no
 * privilege (the list in __dev_ethtool, net/ethtool/ioctl.c). Holds RTNL. Throws SystemError, ENODEV when the interface is gone.
 */
export const readPrivateFlag = (interfaceName: string, flag: string): boolean | null =>
  withEthtool(interfaceName, (command) => askPrivateFlag(command, flag));

/** The sequence behind readPrivateFlag: how many flags there are, their names, their values. */
export function askPrivateFlag(command: EthtoolCommand, flag: string): boolean | null {
  const names = askPrivateFlagNames(command);
  const place = names.indexOf(flag);
  if (place < 0) return null;
  // struct ethtool_value: cmd u32, data u32.
  const { bytes } = writer(8).u32(0, ETHTOOL_GPFLAGS);
  if (!isAnswered(command, bytes)) return null;
  return (reader(bytes).u32(4) & (1 << place)) !== 0;
}

function askPrivateFlagNames(command: EthtoolCommand): readonly string[] {
  // struct ethtool_sset_info: cmd u32, reserved u32, sset_mask u64, then a u32 for each set that the mask has in the answer.
  const { bytes: information } = writer(20)
    .u32(0, ETHTOOL_GSSET_INFO)
    .u64(8, 1n << BigInt(ETH_SS_PRIV_FLAGS));
  if (!isAnswered(command, information) || reader(information).u64(8) === 0n) return [];
  const count = reader(information).u32(16);
  // The kernel writes as many names as the driver has, whatever room there is.
  if (count === 0 || count > PRIVATE_FLAGS) return [];
  // struct ethtool_gstrings: cmd u32, string_set u32, len u32, then 32 bytes a string.
  const { bytes: strings } = writer(12 + PRIVATE_FLAGS * ETH_GSTRING_LEN)
    .u32(0, ETHTOOL_GSTRINGS)
    .u32(4, ETH_SS_PRIV_FLAGS)
    .u32(8, count);
  if (!isAnswered(command, strings)) return [];
  const flags = Math.min(reader(strings).u32(8), PRIVATE_FLAGS);
  return Array.from({ length: flags }, (_, place) =>
    textOf(strings.subarray(12 + place * ETH_GSTRING_LEN, 12 + (place + 1) * ETH_GSTRING_LEN)),
  );
}

/** Runs a command; false when the driver does not have it. */
function isAnswered(command: EthtoolCommand, structure: Uint8Array): boolean {
  try {
    command(structure);
    return true;
  } catch (error) {
    if (error instanceof libc.SystemError && error.code === "EOPNOTSUPP") return false;
    throw error;
  }
}

// struct ethtool_eeprom: cmd, magic, offset, len (u32 each), data; i40e overlays its struct i40e_nvm_access.
const EEPROM_HEADER = 16;
// struct i40e_aq_desc: flags, opcode, datalen, retval (u16 each), two cookies, 16 bytes of parameters; little-endian.
const DESCRIPTOR = 32;
const LIST_BUFFER = 0x500;
const AQ_FLAG_DONE = 0x1;
const AQ_FLAG_ERROR = 0x4;
const AQ_FLAG_BUFFER = 0x1000;
/** Get personalization profile list: the only firmware command that is ever sent. */
const AQ_GET_PROFILE_LIST = 0x0271;
/** In the magic: transaction "execute" of module 0; the PCI device id is in the upper half. */
const TRANSACTION_EXECUTE = 0x0f00;
// A u32 count, then 48 bytes a profile, at most 16: track id u32, version 4 × u8, owner u8, 7 reserved, name[32].
const PROFILE_COUNT = 4;
const PROFILE = 48;
const PROFILE_NAME = 16;
const PROFILES = 16;

const DRIVER = "i40e";
// X722 and its like are i40e devices whose firmware has no profiles.
const withoutProfiles: ReadonlySet<number> = new Set([
  0x374c, 0x374d, 0x37cc, 0x37cd, 0x37ce, 0x37cf, 0x37d0, 0x37d1, 0x37d2, 0x37d3, 0x37d4, 0x37d9, 0x3a84, 0x3a85,
  0xf0a2, 0xf0a3,
]);

const ATTEMPTS = 4;
const PAUSE_MILLISECONDS = 50;

/** Why it isn't known which profile is loaded: no such hardware, no privilege, in use (later perhaps), or no sensible answer. */
export type DdpProblem = "unsupported" | "denied" | "busy" | "unknown";

/** The profile could not be read. It is never the answer "no profile", which is null. */
export class DdpError extends Error {
  readonly problem: DdpProblem;
  constructor(problem: DdpProblem, message: string, cause?: unknown) {
    super(`DDP profile: ${message}`, cause === undefined ? undefined : { cause });
    this.name = "DdpError";
    this.problem = problem;
  }
}

/**
 * The name of the first DDP profile that a 700 series PF has loaded; null when it has none. Needs CAP_NET_ADMIN. Holds RTNL
 * and may block for a second: call it off the main thread and once a PCI device, not once a port. Throws DdpError, and
 * SystemError ENODEV when the interface is gone.
 */
export function readI40eDdpProfile(interfaceName: string, pciDeviceId: number): string | null {
  return withEthtool(interfaceName, (command) => askI40eDdpProfile(command, pciDeviceId));
}

/** The sequence behind readI40eDdpProfile; `pause` waits the given milliseconds between attempts. */
export function askI40eDdpProfile(
  command: EthtoolCommand,
  pciDeviceId: number,
  pause: (milliseconds: number) => void = Bun.sleepSync,
): string | null {
  // SEEPROM writes to the hardware with other drivers: be sure of the driver before anything is sent.
  const driver = attempt(() => askDriverInfo(command).driver);
  if (driver !== DRIVER) throw new DdpError("unsupported", `driver ${driver} is not ${DRIVER}`);
  if (withoutProfiles.has(pciDeviceId))
    throw new DdpError("unsupported", `device 0x${pciDeviceId.toString(16)} has no profiles`);
  for (let tries = 1; ; tries++) {
    try {
      return askOnce(command, pciDeviceId);
    } catch (error) {
      const isPassing = error instanceof DdpError && (error.problem === "busy" || error.problem === "unknown");
      if (!isPassing || tries === ATTEMPTS) throw error;
    }
    pause(PAUSE_MILLISECONDS * tries);
  }
}

/** Runs the list command, reads its descriptor, and then as much as the descriptor announces. */
function askOnce(command: EthtoolCommand, pciDeviceId: number): string | null {
  attempt(() => command(encodeListCommand(pciDeviceId)));
  // The driver cuts a result to what firmware wrote, and the ethtool core then reports EIO: request no more than there is.
  const descriptor = encodeResultRequest(pciDeviceId, DESCRIPTOR);
  attempt(() => command(descriptor));
  const length = decodeDescriptor(descriptor);
  const result = encodeResultRequest(pciDeviceId, DESCRIPTOR + Math.min(length, PROFILE_COUNT + PROFILE * PROFILES));
  attempt(() => command(result));
  return decodeProfileList(result);
}

// The meaning of the kernel's errors (i40e_nvm.c, net/ethtool/ioctl.c). ESRCH is ambiguous and so unknown.
const troubles: Readonly<Record<string, DdpProblem>> = {
  EPERM: "denied",
  EACCES: "denied",
  EOPNOTSUPP: "unsupported",
  EINVAL: "unsupported",
  EFAULT: "unsupported",
  EBUSY: "busy",
  EAGAIN: "busy",
};

function attempt<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof libc.SystemError) || error.code === "ENODEV") throw error;
    throw new DdpError(troubles[error.code] ?? "unknown", error.message, error);
  }
}

const magicOf = (pciDeviceId: number): number => ((pciDeviceId << 16) | TRANSACTION_EXECUTE) >>> 0;

/** The SEEPROM structure, 1328 bytes, that makes firmware list its profiles. */
export function encodeListCommand(pciDeviceId: number): Uint8Array {
  const bytes = new Uint8Array(EEPROM_HEADER + DESCRIPTOR + LIST_BUFFER);
  // The offset stays 0: anything else is the opcode of an event to wait for.
  writer(bytes, hostOrder)
    .u32(0, ETHTOOL_SEEPROM)
    .u32(4, magicOf(pciDeviceId))
    .u32(12, DESCRIPTOR + LIST_BUFFER);
  writer(bytes, "little")
    .u16(EEPROM_HEADER, AQ_FLAG_BUFFER)
    .u16(EEPROM_HEADER + 2, AQ_GET_PROFILE_LIST)
    .u16(EEPROM_HEADER + 4, LIST_BUFFER);
  return bytes;
}

/** The GEEPROM structure that fetches the first `length` bytes of the last command's result. */
export const encodeResultRequest = (pciDeviceId: number, length: number): Uint8Array =>
  writer(EEPROM_HEADER + length, hostOrder)
    .u32(0, ETHTOOL_GEEPROM)
    .u32(4, magicOf(pciDeviceId))
    .u32(12, length).bytes;

/**
 * The number of bytes that firmware wrote behind the descriptor of a GEEPROM result. Throws DdpError "unknown" when the
 * descriptor is not that of a completed profile list: the scratch of the driver is shared, and zero after a timeout.
 */
export function decodeDescriptor(bytes: Uint8Array): number {
  if (bytes.length < EEPROM_HEADER + DESCRIPTOR) throw new DdpError("unknown", `answer of ${bytes.length} bytes`);
  const descriptor = reader(bytes.subarray(EEPROM_HEADER), "little");
  const [flags, opcode, length, status] = [0, 2, 4, 6].map((offset) => descriptor.u16(offset)) as [
    number,
    number,
    number,
    number,
  ];
  if (opcode !== AQ_GET_PROFILE_LIST)
    throw new DdpError("unknown", `the answer is to command 0x${opcode.toString(16)}`);
  if ((flags & AQ_FLAG_DONE) === 0) throw new DdpError("unknown", "firmware did not finish");
  if ((flags & AQ_FLAG_ERROR) !== 0 || (status & 0xff) !== 0)
    throw new DdpError("unknown", `firmware answers with status ${status & 0xff}`);
  return length;
}

/** The first profile's name in a GEEPROM result; null when the list is empty. Throws DdpError "unknown" for anything else. */
export function decodeProfileList(bytes: Uint8Array): string | null {
  decodeDescriptor(bytes);
  const list = bytes.subarray(EEPROM_HEADER + DESCRIPTOR);
  if (list.length < PROFILE_COUNT) throw new DdpError("unknown", `profile list of ${list.length} bytes`);
  const count = reader(list, "little").u32(0);
  if (count === 0) return null;
  if (count > PROFILES || list.length < PROFILE_COUNT + PROFILE) {
    throw new DdpError("unknown", `${count} profiles in ${list.length} bytes`);
  }
  const name = textOf(list.subarray(PROFILE_COUNT + PROFILE_NAME, PROFILE_COUNT + PROFILE)).trim();
  if (name === "") throw new DdpError("unknown", "a profile without a name");
  return name;
}

function withEthtool<T>(interfaceName: string, use: (command: EthtoolCommand) => T): T {
  const ethtool = openEthtool(interfaceName);
  try {
    return use(ethtool.command);
  } finally {
    ethtool.close();
  }
}
