import { expect, test } from "bun:test";
import { replay } from "../../test/netlink/replay.ts";
import { terminated, writer } from "../bytes.ts";
import { encodeGeneric, GenericNetlink } from "./generic.ts";
import { type Attribute, decodeAttributes, encodeAttributes, encodeMessage } from "./message.ts";
import {
  decodeDevlinkInfo,
  decodeEswitchMode,
  decodeFlag,
  DEVLINK_PARAM_CMODE_DRIVERINIT,
  DEVLINK_PARAM_CMODE_RUNTIME,
  readDevlinkDevices,
  readDevlinkInfo,
  readDevlinkInfos,
  readEnableRdma,
  readEswitchMultiport,
  readEswitchMode,
} from "./devlink.ts";

// Answers as net/devlink writes them.
const text = (type: number, value: string): Attribute => ({ type, data: terminated(value) });
const nest = (type: number, attributes: readonly Attribute[]): Attribute => ({
  type,
  data: encodeAttributes(attributes),
});
const u8 = (type: number, value: number): Attribute => ({ type, data: new Uint8Array([value]) });
const u16 = (type: number, value: number): Attribute => ({ type, data: writer(2).u16(0, value).bytes });
const handle = (bus: string, device: string): Attribute[] => [text(1, bus), text(2, device)];
const version = (kind: number, name: string, value: string): Attribute =>
  nest(kind, [text(103, name), text(104, value)]);
const flagParameter = (value: boolean, mode = 1): Attribute =>
  nest(80, [
    text(81, "enable_rdma"),
    { type: 82, data: new Uint8Array(0) },
    u8(83, 6),
    nest(84, [nest(85, [...(value ? [{ type: 86, data: new Uint8Array(0) }] : []), u8(87, mode)])]),
  ]);

const answer = (attributes: readonly Attribute[], flags = 0): Uint8Array =>
  encodeMessage({ type: 20, flags, sequence: 0, port: 0, payload: encodeGeneric(1, 1, attributes) });
const many = (...answers: readonly Attribute[][]): Uint8Array[] => [
  ...answers.map((attributes) => answer(attributes, 2)),
  encodeMessage({ type: 3, flags: 2, sequence: 0, port: 0, payload: new Uint8Array(4) }),
];
const refusal = (errno: number): Uint8Array[] => [
  encodeMessage({ type: 2, flags: 0x100, sequence: 0, port: 0, payload: writer(20).i32(0, -errno).bytes }),
];
const family = [answer([u16(1, 20), text(2, "devlink")])];
const kernel = (...answers: readonly Uint8Array[][]): GenericNetlink =>
  new GenericNetlink(replay([family, ...answers]));
const withoutDevlink = (): GenericNetlink => new GenericNetlink(replay([refusal(2)]));

const attributesOf = (attributes: readonly Attribute[]) => decodeAttributes(encodeAttributes(attributes));

test("devices of both buses are listed", () => {
  const devices = readDevlinkDevices(
    kernel(many(handle("pci", "0000:3b:00.0"), handle("auxiliary", "mlx5_core.sf.4"))),
  );
  expect(devices).toEqual([
    { bus: "pci", device: "0000:3b:00.0" },
    { bus: "auxiliary", device: "mlx5_core.sf.4" },
  ]);
});

test("without the devlink family there are no devices and no answers", () => {
  expect(readDevlinkDevices(withoutDevlink())).toEqual([]);
  expect(readEswitchMode(withoutDevlink(), "pci", "0000:3b:00.0")).toBeNull();
  expect(readDevlinkInfo(withoutDevlink(), "pci", "0000:3b:00.0")).toBeNull();
  expect(readDevlinkInfos(withoutDevlink())).toEqual(new Map());
  expect(readEnableRdma(withoutDevlink())).toEqual(new Map());
});

test("the eswitch mode is legacy, switchdev, or unknown", () => {
  const modes = [0, 1, 2].map((mode) =>
    decodeEswitchMode(attributesOf([...handle("pci", "0000:3b:00.0"), u16(25, mode)])),
  );
  expect(modes).toEqual(["legacy", "switchdev", null]);
});

test("a driver without an eswitch, and a device that left, have no mode", () => {
  for (const errno of [95, 19]) expect(readEswitchMode(kernel(refusal(errno)), "pci", "0000:3b:00.0")).toBeNull();
});

test("a denied eswitch request is not mistaken for a driver without an eswitch", () => {
  expect(() => readEswitchMode(kernel(refusal(1)), "pci", "0000:3b:00.0")).toThrow(
    expect.objectContaining({ name: "NetlinkError", code: "EPERM" }),
  );
});

test("the running version wins over a fixed and a stored one of its name", () => {
  const info = [
    text(98, "ice"),
    text(99, "00-01-00-ff-ff-00-00-00"),
    version(100, "board.id", "K65390-000"),
    version(101, "fw.app.name", "ICE OS Default Package"),
    version(101, "fw.undi", "1.2"),
    version(102, "fw.undi", "1.3"),
    version(102, "fw.netlist", "4.0"),
  ];
  expect(decodeDevlinkInfo(attributesOf(info))).toEqual({
    driver: "ice",
    serial: "00-01-00-ff-ff-00-00-00",
    versions: {
      "board.id": "K65390-000",
      "fw.app.name": "ICE OS Default Package",
      "fw.undi": "1.2",
      "fw.netlist": "4.0",
    },
  });
});

test("a driver that reports only its name has no versions", () => {
  expect(readDevlinkInfo(kernel([answer([text(98, "mlx5_core")])]), "pci", "x")).toEqual({
    driver: "mlx5_core",
    serial: null,
    versions: {},
  });
});

test("the infos of all devices come by bus and name", () => {
  const infos = readDevlinkInfos(
    kernel(many([...handle("pci", "a"), text(98, "ice")], [...handle("pci", "b"), text(98, "i40e")])),
  );
  expect([...infos].map(([key, { driver }]) => [key, driver])).toEqual([
    ["pci/a", "ice"],
    ["pci/b", "i40e"],
  ]);
});

test("enable_rdma is true when its flag is there, false when not, and unknown without a driverinit value", () => {
  expect(decodeFlag(attributesOf([flagParameter(true)]), DEVLINK_PARAM_CMODE_DRIVERINIT)).toBe(true);
  expect(decodeFlag(attributesOf([flagParameter(false)]), DEVLINK_PARAM_CMODE_DRIVERINIT)).toBe(false);
  expect(decodeFlag(attributesOf([flagParameter(true, 0)]), DEVLINK_PARAM_CMODE_DRIVERINIT)).toBeNull();
  expect(decodeFlag(attributesOf([]), DEVLINK_PARAM_CMODE_DRIVERINIT)).toBeNull();
});

test("enable_rdma is read from each device, and those without it are left out", () => {
  const devices = ["on", "off", "without", "left", "no-parameters"].map((device) => ({ bus: "pci", device }));
  const values = readEnableRdma(
    kernel([answer([flagParameter(true)])], [answer([flagParameter(false)])], refusal(22), refusal(19), refusal(95)),
    devices,
  );
  expect(values).toEqual(
    new Map([
      ["pci/on", true],
      ["pci/off", false],
    ]),
  );
});

test("esw_multiport is the runtime value", () => {
  expect(decodeFlag(attributesOf([flagParameter(true, 0)]), DEVLINK_PARAM_CMODE_RUNTIME)).toBe(true);
  expect(decodeFlag(attributesOf([flagParameter(false, 0)]), DEVLINK_PARAM_CMODE_RUNTIME)).toBe(false);
  expect(decodeFlag(attributesOf([flagParameter(true)]), DEVLINK_PARAM_CMODE_RUNTIME)).toBeNull();
  const devices = ["on", "without"].map((device) => ({ bus: "pci", device }));
  const values = readEswitchMultiport(kernel([answer([flagParameter(true, 0)])], refusal(22)), devices);
  expect(values).toEqual(new Map([["pci/on", true]]));
});

test("this kernel answers without an error, whatever devices it has", () => {
  const generic = new GenericNetlink();
  try {
    const devices = readDevlinkDevices(generic);
    expect(readEnableRdma(generic, devices).size).toBeLessThanOrEqual(devices.length);
    expect(readDevlinkInfo(generic, "pci", "ffff:ff:1f.7")).toBeNull();
  } finally {
    generic.close();
  }
});
