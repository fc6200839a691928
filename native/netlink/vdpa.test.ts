import { expect, test } from "bun:test";
import { answersOf, readCapture, replay } from "../../test/netlink/replay.ts";
import { terminated } from "../bytes.ts";
import { GenericNetlink } from "./generic.ts";
import { decodeAttributes, encodeAttributes } from "./message.ts";
import { decodeVdpaDevice, readVdpaDevices } from "./vdpa.ts";

const decoded = (texts: Readonly<Record<number, string>>) =>
  decodeVdpaDevice(
    decodeAttributes(
      encodeAttributes(Object.entries(texts).map(([type, text]) => ({ type: Number(type), data: terminated(text) }))),
    ),
  );

test("a device has its name and the function that manages it", () => {
  expect(decoded({ 1: "pci", 2: "0000:3b:00.2", 4: "vdpa0" })).toEqual({
    name: "vdpa0",
    managementBus: "pci",
    managementDevice: "0000:3b:00.2",
  });
});

test("a manager may be on no bus, but must have a name", () => {
  expect(decoded({ 2: "vdpasim_net", 4: "vdpa1" })).toMatchObject({ managementBus: null });
  expect(decoded({ 1: "pci", 4: "vdpa1" })).toBeNull();
  expect(decoded({ 1: "pci", 2: "0000:3b:00.2" })).toBeNull();
});

test("without the vdpa module there are no devices, as captured", () => {
  expect(readVdpaDevices(new GenericNetlink(replay(answersOf(readCapture("host-no-family")))))).toEqual([]);
});
