import { describe, expect, test } from "bun:test";
import { byName, readCapture, replay, replayed } from "../../test/netlink/replay.ts";
import { type ByteOrder, concat, terminated, u32Bytes, writer } from "../bytes.ts";
import {
  type Attribute,
  NetlinkFormatError,
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
} from "./message.ts";
import { decodeLink, overflowsVfList, readLinks } from "./route.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./socket.ts";

/** A link message as a driver of a PF with VFs makes it. */
const linkPayload = (attributes: readonly Attribute[], order?: ByteOrder): Uint8Array =>
  concat([
    writer(16, order).u16(2, 1).i32(4, 7).u32(8, 0x11043).bytes,
    encodeAttributes([{ type: 3, data: terminated("pf0") }, ...attributes], order),
  ]);
const vfInfo = (vf: number, state: number, order?: ByteOrder): Attribute => ({
  type: 1,
  data: encodeAttributes([{ type: 5, data: writer(12, order).u32(0, vf).u32(4, state).bytes }], order),
});
const vfList = (infos: readonly Attribute[], order?: ByteOrder): Attribute[] => [
  { type: 21, data: u32Bytes(infos.length, order) },
  { type: 22, data: encodeAttributes(infos, order) },
];

describe("links", () => {
  test("a host's links have name, type, state and parent, as captured", () => {
    const links = readLinks(replayed("host-links"));
    expect(links.map(({ index, name }) => [index, name])).toEqual([
      [1, "lo"],
      [2, "ifb0"],
      [3, "ifb1"],
      [4, "eth0"],
    ]);
    expect(byName(links)["eth0"]).toEqual({
      index: 4,
      name: "eth0",
      arphrd: 1,
      flags: 0x11043,
      operstate: "up",
      carrier: true,
      master: null,
      lower: null,
      kind: null,
      slaveKind: null,
      parentBus: "virtio",
      parentDevice: "virtio2",
      switchId: null,
      portName: null,
      carrierUps: 1,
      portId: null,
      vfLinkStates: {},
    });
    expect(byName(links)["lo"]).toMatchObject({ arphrd: 772, operstate: "unknown", parentBus: null });
    expect(byName(links)["ifb0"]).toMatchObject({ kind: "ifb", operstate: "down" });
  });

  test("stacked links name their lower links, as captured", () => {
    const links = byName(readLinks(replayed("stacked-links")));
    expect(links["left"]).toMatchObject({ master: links["br0"]!.index, slaveKind: "bridge", kind: "veth" });
    expect(links["br0"]).toMatchObject({ kind: "bridge", master: null, lower: null });
    expect(links["mv0"]).toMatchObject({ kind: "macvlan", lower: links["right"]!.index });
    expect(links["vx0"]).toMatchObject({ kind: "vxlan", lower: links["right"]!.index });
  });

  test("a lower link in another network namespace is not mistaken for one in this one, as captured", () => {
    expect(byName(readLinks(replayed("stacked-links")))["away"]).toMatchObject({ kind: "veth", lower: null });
  });

  test("VFs have a link-state policy by index, gaps included", () => {
    const link = decodeLink(linkPayload(vfList([vfInfo(0, 0), vfInfo(1, 1), vfInfo(5, 2), vfInfo(6, 9)])));
    expect(link.vfLinkStates).toEqual({ 0: "auto", 1: "enable", 5: "disable" });
  });

  test("switch id, port name and parent of an uplink representor are read in either byte order", () => {
    for (const order of ["little", "big"] as const) {
      const link = decodeLink(
        linkPayload(
          [
            { type: 36, data: new Uint8Array([0xe4, 0x1d, 0x2d, 0x00]) },
            { type: 38, data: terminated("p0") },
            { type: 34, data: new Uint8Array([0x00, 0xe4, 0x1d]) },
            { type: 47, data: u32Bytes(3, order) },
            { type: 56, data: terminated("0000:03:00.0") },
            { type: 57, data: terminated("pci") },
            { type: 16, data: new Uint8Array([2]) },
            { type: 33, data: new Uint8Array([0]) },
            ...vfList([vfInfo(3, 2, order)], order),
          ],
          order,
        ),
        order,
      );
      expect(link).toMatchObject({
        index: 7,
        arphrd: 1,
        flags: 0x11043,
        switchId: "e41d2d00",
        portName: "p0",
        portId: "00e41d",
        carrierUps: 3,
        parentBus: "pci",
        parentDevice: "0000:03:00.0",
        operstate: "down",
        carrier: false,
        vfLinkStates: { 3: "disable" },
      });
    }
  });

  test("a lower link of 0, or the link itself, does not count", () => {
    expect(decodeLink(linkPayload([{ type: 5, data: u32Bytes(0) }])).lower).toBeNull();
    expect(decodeLink(linkPayload([{ type: 5, data: u32Bytes(7) }])).lower).toBeNull();
    expect(decodeLink(linkPayload([{ type: 5, data: u32Bytes(3) }])).lower).toBe(3);
    expect(decodeLink(linkPayload([]))).toMatchObject({ carrier: null, carrierUps: null, portId: null });
  });

  test("a state of a newer kernel is unknown", () => {
    expect(decodeLink(linkPayload([{ type: 16, data: new Uint8Array([77]) }])).operstate).toBe("unknown");
  });

  test("a link without a name, or a policy cut short, is refused", () => {
    expect(() => decodeLink(new Uint8Array(16))).toThrow(NetlinkFormatError);
    const short = encodeAttributes([{ type: 5, data: new Uint8Array(4) }]);
    const list = encodeAttributes([{ type: 1, data: short }]);
    expect(() => decodeLink(linkPayload([{ type: 22, data: list }]))).toThrow(NetlinkFormatError);
  });

  const answer = (type: number, payload: Uint8Array): Uint8Array =>
    encodeMessage({ type, flags: 2, sequence: 0, port: 0, payload });
  const done = (errno: number): Uint8Array => answer(3, writer(4).i32(0, -errno).bytes);

  test("when the VFs don't fit into a message the links are read without them", () => {
    const refused = [done(90)];
    const wholesome = [answer(16, linkPayload([])), done(0)];
    const socket = new NetlinkSocket(NETLINK_ROUTE, replay([refused, wholesome]));
    expect(readLinks(socket)).toMatchObject([{ name: "pf0", vfLinkStates: {} }]);
  });

  test("a list of VFs whose length wrapped is rejected", () => {
    // 300 VFs of 268 bytes are 80400: the list's 16-bit length would say 14864.
    const info = { type: 1, data: new Uint8Array(264) };
    const wrapped = linkPayload([
      { type: 21, data: u32Bytes(300) },
      { type: 22, data: encodeAttributes(Array.from({ length: 55 }, () => info)) },
    ]);
    expect(overflowsVfList(decodeAttributes(wrapped, 16))).toBe(true);
    expect(overflowsVfList(decodeAttributes(linkPayload(vfList([vfInfo(0, 0)])), 16))).toBe(false);
    const socket = new NetlinkSocket(
      NETLINK_ROUTE,
      replay([
        [answer(16, wrapped), done(0)],
        [answer(16, linkPayload([])), done(0)],
      ]),
    );
    expect(readLinks(socket)).toMatchObject([{ name: "pf0", vfLinkStates: {} }]);
  });

  test("every truncation of a captured link is refused", () => {
    for (const datagram of [...readCapture("host-links").datagrams, ...readCapture("stacked-links").datagrams]) {
      for (const { type, payload } of decodeMessages(datagram)) {
        if (type !== 16) continue;
        for (let length = 0; length < payload.length; length++) {
          // A cut between two attributes leaves a sound, poorer link.
          try {
            expect(decodeLink(payload.subarray(0, length)).name).toBe(decodeLink(payload).name);
          } catch (error) {
            expect(error).toBeInstanceOf(NetlinkFormatError);
          }
        }
      }
    }
  });
});
