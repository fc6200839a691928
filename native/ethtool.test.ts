import { describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { reader, terminated, writer } from "./bytes.ts";
import {
  DdpError,
  type EthtoolCommand,
  askI40eDdpProfile,
  askPrivateFlag,
  decodeDescriptor,
  decodeDriverInfo,
  decodeProfileList,
  encodeListCommand,
  encodeResultRequest,
  openEthtool,
  readDriverInfo,
  readI40eDdpProfile,
  readPrivateFlag,
} from "./ethtool.ts";
import { SystemError } from "./libc.ts";

const DRVINFO = 3;
const GEEPROM = 0xb;
const SEEPROM = 0xc;
const XXV710 = 0x158b;

// The bytes that i40e and its firmware answer with, as i40e_nvm.c and the ethtool core make them: the result of a command
// lies in a scratch of the driver, and asking for more of it than there is gives EIO.
interface Firmware {
  readonly driver?: string;
  /** The command's result: descriptor and list. */
  readonly result?: () => Uint8Array;
  /** Called before each command; throws what the kernel refuses with. */
  readonly before?: (command: number, count: number) => void;
}

interface Simulated {
  readonly commands: number[];
  readonly command: EthtoolCommand;
}

function simulate({
  driver = "i40e",
  result = () => answer(["GTPv1-C/U IPv4/IPv6 payload"]),
  before = () => {},
}: Firmware): Simulated {
  const commands: number[] = [];
  let scratch: Uint8Array = new Uint8Array(32);
  return {
    commands,
    command(structure) {
      const command = reader(structure).u32(0);
      commands.push(command);
      before(command, commands.filter((other) => other === command).length);
      if (command === DRVINFO) return void writer(structure).raw(4, terminated(driver));
      expect(reader(structure).u32(4)).toBe(XXV710 * 0x10000 + 0x0f00);
      if (command === SEEPROM) return void (scratch = result());
      const length = reader(structure).u32(12);
      structure.set(scratch.subarray(0, length), 16);
      if (length > scratch.length) throw new SystemError("ioctl", 5);
    },
  };
}

const descriptor = (shape: { flags?: number; opcode?: number; length?: number; status?: number } = {}): Uint8Array =>
  writer(32, "little")
    .u16(0, shape.flags ?? 0x1003)
    .u16(2, shape.opcode ?? 0x0271)
    .u16(4, shape.length ?? 4)
    .u16(6, shape.status ?? 0).bytes;

function answer(names: readonly string[], count = names.length): Uint8Array {
  const list = writer(4 + 48 * names.length, "little").u32(0, count);
  names.forEach((name, index) => list.u32(4 + 48 * index, 0x80000008).raw(4 + 48 * index + 16, terminated(name)));
  return new Uint8Array([...descriptor({ length: list.bytes.length }), ...list.bytes]);
}

const pauses: number[] = [];
const ask = (firmware: Simulated, device = XXV710): string | null =>
  askI40eDdpProfile(firmware.command, device, (milliseconds) => void pauses.push(milliseconds));

const problemOf = (firmware: Simulated, device = XXV710): unknown => {
  try {
    return ask(firmware, device);
  } catch (error) {
    return error instanceof DdpError ? error.problem : error;
  }
};

const attempts = (simulated: Simulated): number => simulated.commands.filter((command) => command === SEEPROM).length;

describe("the sequence", () => {
  test("a loaded profile is reported by name, after the driver was checked", () => {
    const firmware = simulate({});
    expect(ask(firmware)).toBe("GTPv1-C/U IPv4/IPv6 payload");
    expect(firmware.commands).toEqual([DRVINFO, SEEPROM, GEEPROM, GEEPROM]);
  });

  test("no more is read than firmware wrote, so the ethtool core's EIO is not met", () => {
    expect(ask(simulate({ result: () => answer(["Ecpri"]) }))).toBe("Ecpri");
    expect(ask(simulate({ result: () => answer([]) }))).toBeNull();
  });

  test("firmware that claims its whole buffer is read up to sixteen profiles", () => {
    const whole = new Uint8Array(32 + 0x500);
    whole.set(answer(["L2TPv3"]));
    whole.set(descriptor({ length: 0x500 }));
    expect(ask(simulate({ result: () => whole }))).toBe("L2TPv3");
  });

  test("of several profiles the first is reported", () => {
    expect(ask(simulate({ result: () => answer(["first", "second"]) }))).toBe("first");
  });

  test("an empty list has no profile", () => {
    expect(ask(simulate({ result: () => answer([]) }))).toBeNull();
  });

  test("nothing is sent to another driver, nor to devices without profiles", () => {
    for (const driver of ["ice", "ixgbe", "mlx5_core", ""]) {
      const firmware = simulate({ driver });
      expect(problemOf(firmware)).toBe("unsupported");
      expect(firmware.commands).toEqual([DRVINFO]);
    }
    const x722 = simulate({});
    expect(problemOf(x722, 0x37d0)).toBe("unsupported");
    expect(x722.commands).toEqual([DRVINFO]);
  });

  test.each([
    ["nothing: the command timed out", new Uint8Array(32)],
    ["another command's result", new Uint8Array([...descriptor({ opcode: 0x0701 })])],
    ["a command under way", descriptor({ flags: 0x1000 })],
    ["an error", descriptor({ flags: 0x1007 })],
    ["a status", descriptor({ status: 0x0e })],
    ["no list at all", descriptor({ length: 0 })],
    ["more profiles than there can be", answer(["x"], 17)],
    ["a count without a profile", answer([], 1)],
    ["a profile without a name", answer([""])],
  ] as const)("%s is unknown after four attempts, never no profile", (_what, result) => {
    const firmware = simulate({ result: () => result });
    expect(problemOf(firmware)).toBe("unknown");
    expect(attempts(firmware)).toBe(4);
  });

  test("a scratch that someone else used between the reads is read again", () => {
    let scratches = 0;
    const firmware = simulate({ result: () => (++scratches === 1 ? descriptor({ opcode: 0x0701 }) : answer(["GTP"])) });
    expect(ask(firmware)).toBe("GTP");
    expect(attempts(firmware)).toBe(2);
  });

  test("a scratch that someone else used between the two reads is noticed", () => {
    let reads = 0;
    const firmware = simulate({});
    const command: EthtoolCommand = (structure) => {
      firmware.command(structure);
      if (reader(structure).u32(0) === GEEPROM && ++reads === 2) structure.set(descriptor({ opcode: 0x0701 }), 16);
    };
    expect(askI40eDdpProfile(command, XXV710, () => {})).toBe("GTPv1-C/U IPv4/IPv6 payload");
    expect(attempts(firmware)).toBe(2);
  });

  test.each([
    [16, "busy", 4],
    [3, "unknown", 4],
    [5, "unknown", 4],
    [1, "denied", 1],
    [95, "unsupported", 1],
    [22, "unsupported", 1],
  ] as const)("errno %d is %s after %d attempts", (errno, problem, tries) => {
    const firmware = simulate({
      before: (command) => {
        if (command === SEEPROM) throw new SystemError("ioctl", errno);
      },
    });
    expect(problemOf(firmware)).toBe(problem);
    expect(attempts(firmware)).toBe(tries);
  });

  test("a busy adapter is waited for, a little longer each time", () => {
    pauses.length = 0;
    const firmware = simulate({
      before: (command, count) => {
        if (command === SEEPROM && count < 3) throw new SystemError("ioctl", 16);
      },
    });
    expect(ask(firmware)).toBe("GTPv1-C/U IPv4/IPv6 payload");
    expect(pauses).toEqual([50, 100]);
  });

  test("an interface that left is a system error, not a problem of the profile", () => {
    const firmware = simulate({
      before: () => {
        throw new SystemError("ioctl", 19);
      },
    });
    expect(problemOf(firmware)).toMatchObject({ name: "SystemError", code: "ENODEV" });
  });
});

describe("the structures", () => {
  test("the list command is the 1328 bytes that i40e takes", () => {
    const bytes = encodeListCommand(XXV710);
    expect(bytes.length).toBe(1328);
    expect(bytes.subarray(0, 48).toHex()).toBe(`0c000000000f8b1500000000200500000010710200050000${"00".repeat(24)}`);
    expect(bytes.subarray(48).every((byte) => byte === 0)).toBe(true);
  });

  test("a device id with its highest bit set makes no negative magic", () => {
    expect(reader(encodeListCommand(0xf0a2)).u32(4)).toBe(0xf0a20f00);
  });

  test("a result is requested by its length", () => {
    const bytes = encodeResultRequest(XXV710, 32);
    expect(bytes.length).toBe(48);
    expect(bytes.subarray(0, 16).toHex()).toBe("0b000000000f8b150000000020000000");
  });

  test("every truncation of a result is unknown", () => {
    const result = new Uint8Array([...encodeResultRequest(XXV710, 0), ...answer(["GTP"])]);
    for (let length = 0; length < result.length; length++) {
      expect(() => decodeProfileList(result.subarray(0, length))).toThrow(DdpError);
    }
    expect(decodeProfileList(result)).toBe("GTP");
    expect(decodeDescriptor(result)).toBe(52);
  });

  test("driver information is read from its fixed places", () => {
    const bytes = writer(196)
      .raw(4, terminated("i40e"))
      .raw(36, terminated("6.12.117"))
      .raw(68, terminated("9.50 0x8000f25e 1.3682.0"))
      .raw(100, terminated("0000:3b:00.0")).bytes;
    expect(decodeDriverInfo(bytes)).toEqual({
      driver: "i40e",
      version: "6.12.117",
      firmwareVersion: "9.50 0x8000f25e 1.3682.0",
      bus: "0000:3b:00.0",
    });
  });
});

describe("on this kernel", () => {
  const other = Object.keys(networkInterfaces()).find((name) => name !== "lo" && /^(eth|en)/.test(name));
  test.skipIf(other === undefined)("an Ethernet driver reports its name (needs an eth* or en* interface)", () => {
    expect(readDriverInfo(other!).driver).not.toBe("");
  });

  test.skipIf(other === undefined)("firmware of another driver is left alone (needs an eth* or en* interface)", () => {
    expect(() => readI40eDdpProfile(other!, XXV710)).toThrow(expect.objectContaining({ problem: "unsupported" }));
  });

  test("an interface that is not there is ENODEV, and so is a name that is too long", () => {
    expect(() => readDriverInfo("nosuchif")).toThrow(expect.objectContaining({ code: "ENODEV" }));
    expect(() => openEthtool("a-name-of-16-chr")).toThrow(RangeError);
  });
});

describe("a private flag", () => {
  // What i40e answers (i40e_ethtool.c): names in a fixed order, values in a bitmap of the same order.
  const i40e = ["MFP", "total-port-shutdown", "LinkPolling", "link-down-on-close"];

  /** A driver with private flags; `set` are those that are on. */
  const driverWith =
    (names: readonly string[], set: readonly string[] = []): EthtoolCommand =>
    (structure) => {
      const request = reader(structure);
      const command = request.u32(0);
      if (command === 0x37) {
        expect(request.u64(8)).toBe(4n);
        writer(structure).u32(16, names.length);
      } else if (command === 0x1b) {
        expect(request.u32(4)).toBe(2);
        writer(structure).u32(8, names.length);
        for (const [place, name] of names.entries()) structure.set(terminated(name), 12 + place * 32);
      } else if (command === 0x27) {
        writer(structure).u32(
          4,
          names.reduce((bits, name, place) => bits | (set.includes(name) ? 1 << place : 0), 0) >>> 0,
        );
      } else throw new Error(`command ${command} must not be sent`);
    };
  const refusing =
    (command: number, errno: number, otherwise: EthtoolCommand): EthtoolCommand =>
    (structure) => {
      if (reader(structure).u32(0) === command) throw new SystemError("ioctl", errno);
      otherwise(structure);
    };

  test("is on, off, or not known to the driver", () => {
    expect(askPrivateFlag(driverWith(i40e, ["link-down-on-close"]), "link-down-on-close")).toBe(true);
    expect(askPrivateFlag(driverWith(i40e, ["MFP", "LinkPolling"]), "link-down-on-close")).toBe(false);
    expect(askPrivateFlag(driverWith(["rx_cqe_moder"]), "link-down-on-close")).toBeNull();
    expect(askPrivateFlag(driverWith([]), "link-down-on-close")).toBeNull();
  });

  test("is found in the last place that there can be", () => {
    const names = Array.from({ length: 32 }, (_, place) => `flag-${place}`);
    expect(askPrivateFlag(driverWith(names, ["flag-31"]), "flag-31")).toBe(true);
    expect(askPrivateFlag(driverWith(names, ["flag-30"]), "flag-31")).toBe(false);
  });

  test("of a driver with more flags than the bitmap holds is never requested by name", () => {
    const names = Array.from({ length: 33 }, (_, place) => `flag-${place}`);
    expect(askPrivateFlag(driverWith(names), "flag-1")).toBeNull();
  });

  test.each([0x37, 0x1b, 0x27])("is unknown where the driver has no command 0x%x", (command) => {
    expect(askPrivateFlag(refusing(command, 95, driverWith(i40e)), "link-down-on-close")).toBeNull();
    expect(() => askPrivateFlag(refusing(command, 19, driverWith(i40e)), "link-down-on-close")).toThrow("ENODEV");
  });

  test("of a set that the kernel does not report is unknown", () => {
    const without: EthtoolCommand = (structure) => void writer(structure).u64(8, 0n);
    expect(askPrivateFlag(without, "link-down-on-close")).toBeNull();
  });

  test("is read from this kernel without a privilege", () => {
    expect(readPrivateFlag("lo", "link-down-on-close")).toBeNull();
    expect(() => readPrivateFlag("no-such-link", "link-down-on-close")).toThrow("ENODEV");
  });
});
