// What the kernel of the lab's guest answered (test/vm/guest/facts-capture.vm.ts), decoded, encoded again, and cut short.

import { describe, expect, test } from "bun:test";
import { answersOf, readCapture, replay } from "../../test/netlink/replay.ts";
import { readDevlinkDevices, readDevlinkInfo, readDevlinkInfos, readEnableRdma, readEswitchMode } from "./devlink.ts";
import { GenericNetlink } from "./generic.ts";
import {
  decodeAttributes,
  decodeMessages,
  encodeAttributes,
  encodeMessage,
  NetlinkFormatError,
  NLMSG_DONE,
  NLMSG_ERROR,
} from "./message.ts";
import { readRdmaDevices, readRdmaNamespaceMode } from "./rdma.ts";
import { decodeLink, readDefaultRouteExits, readLinks } from "./route.ts";
import { NETLINK_ROUTE, NetlinkError, NetlinkSocket, type Transport } from "./socket.ts";
import { readVdpaDevices } from "./vdpa.ts";

type Open = (protocol: number) => Transport;

const switchdev = { bus: "pci", device: "0000:41:00.0" };
const legacy = { bus: "pci", device: "0000:81:00.0" };
const netdevsim = { bus: "netdevsim", device: "netdevsim7" };
const each = [switchdev, legacy, netdevsim];

const overRoute = (ask: (socket: NetlinkSocket) => unknown) => (open: Open) =>
  ask(new NetlinkSocket(NETLINK_ROUTE, open));
const overGeneric = (ask: (generic: GenericNetlink) => unknown) => (open: Open) => ask(new GenericNetlink(open));

interface Captured {
  readonly ask: (open: Open) => unknown;
  readonly answer: unknown;
}

const info = (driver: string, firmware: string) => ({ driver, serial: null, versions: { "fw.mgmt": firmware } });

const captures: Readonly<Record<string, Captured>> = {
  "lab-devlink-devices": { ask: overGeneric(readDevlinkDevices), answer: each },
  "lab-devlink-eswitch": {
    ask: overGeneric((generic) => each.map(({ bus, device }) => readEswitchMode(generic, bus, device))),
    answer: ["switchdev", "legacy", "legacy"],
  },
  "lab-devlink-info": {
    ask: overGeneric((generic) => each.map(({ bus, device }) => readDevlinkInfo(generic, bus, device))),
    answer: [info("igb", "1.2.3"), info("igb", "1.2.3"), info("netdevsim", "10.20.30")],
  },
  "lab-devlink-infos": {
    ask: overGeneric(readDevlinkInfos),
    answer: new Map([
      ["pci/0000:41:00.0", info("igb", "1.2.3")],
      ["pci/0000:81:00.0", info("igb", "1.2.3")],
      ["netdevsim/netdevsim7", info("netdevsim", "10.20.30")],
    ]),
  },
  "lab-devlink-enable-rdma": {
    ask: overGeneric((generic) => readEnableRdma(generic)),
    answer: new Map([
      ["pci/0000:41:00.0", false],
      ["pci/0000:81:00.0", true],
    ]),
  },
  "lab-vdpa": {
    ask: overGeneric(readVdpaDevices),
    answer: [{ name: "vdpa0", managementBus: "pci", managementDevice: "0000:82:00.0" }],
  },
  "lab-rdma-devices": { ask: readRdmaDevices, answer: [{ index: 0, name: "rxe0", protocol: "roce" }] },
  "lab-rdma-mode": { ask: readRdmaNamespaceMode, answer: "shared" },
  "lab-routes": { ask: overRoute(readDefaultRouteExits), answer: { all: [17], configured: [17] } },
};

test.each(Object.entries(captures))("%s says what was set up", (name, { ask, answer }) => {
  expect(ask(replay(answersOf(readCapture(name))))).toEqual(answer);
});

describe("links", () => {
  const links = readLinks(new NetlinkSocket(NETLINK_ROUTE, replay(answersOf(readCapture("lab-links")))));
  const byName = new Map(links.map((link) => [link.name, link]));

  test("name the functions that they belong to, on every bus", () => {
    expect(byName.get("pf0")).toMatchObject({ parentBus: "pci", parentDevice: "0000:41:00.0", operstate: "up" });
    expect(byName.get("eth6")).toMatchObject({ parentBus: "auxiliary", parentDevice: "mlx5_core.sf.2" });
    expect(byName.get("lo")).toMatchObject({ parentBus: null, parentDevice: null, operstate: "unknown" });
  });

  test("identify representors by their port on the switch of their PF", () => {
    const onSwitch = links.filter(
      ({ parentDevice, switchId }) => parentDevice === switchdev.device && switchId !== null,
    );
    expect(new Set(onSwitch.map(({ switchId }) => switchId))).toEqual(new Set(["5151515151515151"]));
    expect(onSwitch.map(({ portName }) => portName)).toEqual(["pf0vf1", "pf0vf0", "p0"]);
  });

  test("have the link-state policies of VFs", () => {
    expect(byName.get("pf0")?.vfLinkStates).toEqual({ 0: "auto", 1: "auto", 2: "auto", 3: "auto", 4: "auto" });
    expect(byName.get("eth7")?.vfLinkStates).toEqual({ 0: "auto", 1: "disable" });
  });

  test("show which links are stacked on which", () => {
    const bond = byName.get("bond1");
    expect(bond).toMatchObject({ kind: "bond" });
    expect(byName.get("eth0")).toMatchObject({ master: bond?.index, slaveKind: "bond" });
    expect(byName.get("bond1.7")).toMatchObject({ kind: "vlan", lower: bond?.index });
  });
});

const names = [...Object.keys(captures), "lab-links"];

test.each(names)("messages and attributes of %s are the same when they are encoded again", (name) => {
  // What comes before the attributes: genlmsghdr, nothing, or struct ifinfomsg or rtmsg.
  const header = name.includes("rdma-") ? 0 : name.includes("links") ? 16 : name.includes("routes") ? 12 : 4;
  for (const datagram of readCapture(name).datagrams) {
    const messages = decodeMessages(datagram);
    expect(Buffer.concat(messages.map((message) => encodeMessage(message))).toHex()).toBe(datagram.toHex());
    for (const { type, payload } of messages) {
      if (type === NLMSG_DONE || type === NLMSG_ERROR) continue;
      const { entries } = decodeAttributes(payload, header);
      expect(entries.length).toBeGreaterThan(0);
      expect(decodeAttributes(encodeAttributes(entries)).entries).toEqual([...entries]);
    }
  }
});

const silence = "the replay has no more datagrams";

test.each(Object.entries(captures))("every truncation of %s is refused or read as less", (name, { ask }) => {
  const answers = answersOf(readCapture(name));
  for (const [question, answer] of answers.entries()) {
    for (const [place, datagram] of answer.entries()) {
      for (let length = 0; length < datagram.length; length++) {
        const cut = answers.with(question, answer.with(place, datagram.subarray(0, length)));
        try {
          ask(replay(cut));
        } catch (error) {
          const isRefusal = error instanceof NetlinkFormatError || error instanceof NetlinkError;
          // A whole answer that lacks its end is waited for, which a live socket does for five seconds.
          if (!isRefusal && !(error instanceof Error && error.message === silence)) throw error;
        }
      }
    }
  }
});

test("every truncation of a link is refused or is that link with less", () => {
  for (const datagram of readCapture("lab-links").datagrams) {
    for (const { type, payload } of decodeMessages(datagram)) {
      if (type === NLMSG_DONE) continue;
      for (let length = 0; length < payload.length; length += 1) {
        const cut = payload.subarray(0, length);
        // Between two attributes the rest is whole, and a link with its name.
        try {
          expect(decodeLink(cut).name).toBe(decodeLink(payload).name);
        } catch (error) {
          if (!(error instanceof NetlinkFormatError)) throw error;
        }
      }
    }
  }
});
