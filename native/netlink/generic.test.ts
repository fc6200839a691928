import { expect, test } from "bun:test";
import { answersOf, readCapture, replay } from "../../test/netlink/replay.ts";
import { u32Bytes } from "../bytes.ts";
import { decodeGeneric, encodeGeneric, GenericNetlink } from "./generic.ts";
import { NetlinkFormatError } from "./message.ts";

const message = (payload: Uint8Array) => ({ type: 20, flags: 0, sequence: 1, port: 1, payload });

test("a command comes back with its attributes", () => {
  const { command, attributes } = decodeGeneric(message(encodeGeneric(51, 1, [{ type: 3, data: u32Bytes(7) }])));
  expect(command).toBe(51);
  expect(attributes.u32(3)).toBe(7);
});

test("a message shorter than its header is refused", () => {
  expect(() => decodeGeneric(message(new Uint8Array(3)))).toThrow(NetlinkFormatError);
});

test("a family is found with its groups, as captured", () => {
  const generic = new GenericNetlink(replay(answersOf(readCapture("host-family-ethtool"))));
  expect(generic.family("ethtool")).toEqual({ name: "ethtool", id: 21, version: 1, groups: new Map([["monitor", 6]]) });
});

test("a family that no module offers is null, as captured", () => {
  const generic = new GenericNetlink(replay(answersOf(readCapture("host-no-family"))));
  expect(generic.family("vdpa")).toBeNull();
});

test("this kernel has the controller and no family of an odd name", () => {
  const generic = new GenericNetlink();
  try {
    expect(generic.family("nlctrl")).toMatchObject({ name: "nlctrl", id: 16 });
    expect(generic.family("nlctrl")?.groups.get("notify")).toBe(16);
    expect(generic.family("no such family")).toBeNull();
    expect(generic.family("a name beyond the kernel's sixteen bytes".slice(0, 15))).toBeNull();
  } finally {
    generic.close();
  }
});

test("this kernel lists its families in a dump, each named", () => {
  const generic = new GenericNetlink();
  try {
    const names = generic.dump(generic.family("nlctrl")!, 3).map(({ attributes }) => attributes.string(2));
    expect(names).toContain("nlctrl");
    expect(names).not.toContain(null);
  } finally {
    generic.close();
  }
});
