import { describe, expect, test } from "bun:test";
import { inNamespace, namespacesUnavailable, twoPairs, ueventsUnavailable } from "../../test/netlink/namespace.ts";
import { concat, u32Bytes, writer } from "../bytes.ts";
import { concernsFunctions, concernsLinks, parseUevent, watchKernel } from "./events.ts";
import { type Message, NetlinkFormatError, encodeAttributes } from "./message.ts";

const bytesOf = (...entries: string[]): Uint8Array =>
  new TextEncoder().encode(entries.map((entry) => `${entry}\0`).join(""));

const vfAdded = bytesOf(
  "add@/devices/pci0000:3a/0000:3a:00.0/0000:3b:02.0",
  "ACTION=add",
  "DEVPATH=/devices/pci0000:3a/0000:3a:00.0/0000:3b:02.0",
  "SUBSYSTEM=pci",
  "PCI_CLASS=20000",
  "PCI_ID=8086:154C",
  "PCI_SLOT_NAME=0000:3b:02.0",
  "MODALIAS=pci:v00008086d0000154Csv00008086sd00000000bc02sc00i00",
  "SEQNUM=4711",
);

describe("a uevent", () => {
  test("of the kernel names its subject", () => {
    expect(parseUevent(vfAdded)).toMatchObject({
      action: "add",
      devpath: "/devices/pci0000:3a/0000:3a:00.0/0000:3b:02.0",
      subsystem: "pci",
      values: { PCI_SLOT_NAME: "0000:3b:02.0", SEQNUM: "4711" },
    });
  });

  test("may carry values with equals signs, and none", () => {
    const event = parseUevent(
      bytesOf("change@/d", "ACTION=change", "DEVPATH=/d", "SUBSYSTEM=net", "A=b=c", "EMPTY=", "odd"),
    );
    expect(event?.values).toMatchObject({ A: "b=c", EMPTY: "" });
    expect(event?.values["odd"]).toBeUndefined();
  });

  test("is distinguished from udev's format, text, binary and nothing", () => {
    const udev = concat([bytesOf("libudev"), new Uint8Array([0xfe, 0xed, 0xca, 0xfe]), vfAdded]);
    for (const bytes of [
      udev,
      new Uint8Array(0),
      new Uint8Array(16),
      new Uint8Array([0xff, 0xfe, 0x00]),
      bytesOf("hello"),
    ]) {
      expect(parseUevent(bytes)).toBeNull();
    }
  });

  test("whose header and values disagree is rejected", () => {
    expect(parseUevent(bytesOf("add@/a", "ACTION=remove", "DEVPATH=/a", "SUBSYSTEM=pci"))).toBeNull();
    expect(parseUevent(bytesOf("add@/a", "ACTION=add", "DEVPATH=/a"))).toBeNull();
  });

  test("cut at any byte is ignored or still the same event", () => {
    for (let length = 0; length < vfAdded.length; length++) {
      const event = parseUevent(vfAdded.subarray(0, length));
      if (event !== null) expect(event.devpath).toBe("/devices/pci0000:3a/0000:3a:00.0/0000:3b:02.0");
    }
  });

  test("can't reach the prototype of objects by its keys", () => {
    parseUevent(bytesOf("add@/a", "ACTION=add", "DEVPATH=/a", "SUBSYSTEM=pci", "__proto__=x", "constructor=y"));
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });

  test("matters when a function's facts may have changed, and not for queues, disks and the rest", () => {
    const of = (subsystem: string): boolean =>
      concernsFunctions({ action: "add", devpath: "/d", subsystem, values: {} });
    const matter = [
      "pci",
      "net",
      "auxiliary",
      "vdpa",
      "infiniband",
      "infiniband_verbs",
      "vfio",
      "vfio-dev",
      "uio",
      "misc",
    ];
    expect(matter.filter(of)).toEqual(matter);
    expect(["queues", "block", "cpu", "pci_bus", "network", "", "drivers", "module"].filter(of)).toEqual([]);
  });
});

describe("an rtnetlink notification", () => {
  const message = (type: number, payload: Uint8Array): Message => ({ type, flags: 0, sequence: 0, port: 0, payload });
  const route = (length: number): Uint8Array =>
    concat([
      writer(12).u8(0, 2).u8(1, length).u8(4, 254).u8(7, 1).bytes,
      encodeAttributes([{ type: 4, data: u32Bytes(3) }]),
    ]);

  test("matters when it is about a link, a nexthop or a default route", () => {
    for (const type of [16, 17, 104, 105]) expect(concernsLinks(message(type, new Uint8Array(16)))).toBe(true);
    for (const type of [24, 25]) expect(concernsLinks(message(type, route(0)))).toBe(true);
  });

  test("does not matter when it is about another route or an address", () => {
    expect(concernsLinks(message(24, route(24)))).toBe(false);
    expect(concernsLinks(message(20, new Uint8Array(8)))).toBe(false);
  });

  test("is refused when it is cut short", () => {
    expect(() => concernsLinks(message(24, new Uint8Array(5)))).toThrow(NetlinkFormatError);
  });
});

test("a watch can be closed at once, and twice", () => {
  const watch = watchKernel({ functions() {}, links() {}, lost() {} });
  watch.close();
  watch.close();
});

// On this kernel, in a namespace of the test's own.
const needs = namespacesUnavailable === null ? "" : ` (skipped: ${namespacesUnavailable})`;
const live = test.skipIf(namespacesUnavailable !== null);
const needsUevents = ueventsUnavailable === null ? "" : ` (skipped: ${ueventsUnavailable})`;
const liveUevents = test.skipIf(ueventsUnavailable !== null);

/** Runs steps in a namespace under a watch; what was called during each. */
const watched = (steps: Readonly<Record<string, string>>, receiveBuffer = 8 << 20): Record<string, string[]> =>
  inNamespace(
    twoPairs,
    `
    import { readdirSync, writeFileSync } from "node:fs";
    import { spawnSync } from "node:child_process";
    import { watchKernel } from "./native/netlink/events.ts";
    let received = new Set();
    const watch = watchKernel(
      { functions: () => received.add("functions"), links: () => received.add("links"), lost: (reason) => received.add("lost: " + reason) },
      ${receiveBuffer},
    );
    const sh = (script) => { const { status, stderr } = spawnSync("sh", ["-ec", script], { encoding: "utf8" }); if (status) throw new Error(stderr); };
    const uevent = (path) => writeFileSync(path + "/uevent", "change");
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const record = {};
    await Bun.sleep(100);
    received.clear();
    const step = async (name, act) => { await act(); await Bun.sleep(60); record[name] = [...received].sort(); received.clear(); };
    ${Object.entries(steps)
      .map(([name, act]) => `await step(${JSON.stringify(name)}, async () => { ${act} });`)
      .join("\n")}
    watch.close();
    console.log(JSON.stringify(record));
    process.exit(0);
    `,
  ) as Record<string, string[]>;

live(`links, default routes and devices are reported, other routes are not${needs}`, () => {
  const received = watched({
    quiet: "",
    "carrier lost": `sh("ip link set left-peer down")`,
    "carrier back": `sh("ip link set left-peer up")`,
    "default route": `sh("ip route add default via 192.0.2.2")`,
    "IPv6 default route": `sh("ip -6 route add default via 2001:db8:2::2 dev right")`,
    "another route": `sh("ip route add 203.0.113.0/24 via 192.0.2.2")`,
    "default route gone": `sh("ip route del default")`,
    nexthop: `sh("ip nexthop add id 1 via 192.0.2.2 dev left")`,
    "new link": `sh("ip link add third type veth peer name third-peer")`,
    renamed: `sh("ip link set third name fourth")`,
    "link gone": `sh("ip link del fourth")`,
  });
  expect(received).toEqual({
    quiet: [],
    "carrier lost": ["links"],
    "carrier back": ["links"],
    "default route": ["links"],
    "IPv6 default route": ["links"],
    "another route": [],
    "default route gone": ["links"],
    nexthop: ["links"],
    "new link": ["functions", "links"],
    renamed: ["functions", "links"],
    "link gone": ["functions", "links"],
  });
});

liveUevents(
  `uevents of PCI devices and of the namespace's own links are reported, those of queues are not${needsUevents}`,
  () => {
    const received = watched({
      pci: `uevent("/sys/bus/pci/devices/" + (readdirSync("/sys/bus/pci/devices")[0]))`,
      cpu: `uevent("/sys/devices/system/cpu/cpu0")`,
      memory: `uevent("/sys/class/mem/null")`,
      misc: `uevent("/sys/class/misc/" + readdirSync("/sys/class/misc")[0])`,
    });
    expect(received).toEqual({ pci: ["functions"], cpu: [], memory: [], misc: ["functions"] });
  },
);

liveUevents(`an overflow is reported as lost events, and the watch goes on${needsUevents}`, () => {
  const received = watched(
    {
      "a storm": `for (let i = 0; i < 3000; i++) uevent("/sys/class/mem/null")`,
      "after it": `uevent("/sys/class/misc/" + readdirSync("/sys/class/misc")[0])`,
      "a storm of links": `sh("seq 200 | sed 's/.*/link add x& type veth peer name y&/' | ip -batch -"); Bun.sleepSync(50);`,
      "after that": `sh("ip link set left down")`,
    },
    32768,
  );
  expect(received["a storm"]).toEqual(["lost: uevents: ENOBUFS"]);
  expect(received["after it"]).toEqual(["functions"]);
  expect(received["a storm of links"]).toContain("lost: rtnetlink: ENOBUFS");
  expect(received["after that"]).toContain("links");
});

liveUevents(`with its own buffer size it survives a storm of 20,000 uevents${needsUevents}`, () => {
  const received = watched({ "a storm": `for (let i = 0; i < 20_000; i++) uevent("/sys/class/mem/null")` });
  expect(received).toEqual({ "a storm": [] });
});

liveUevents(`reopening and closing leave no descriptor behind${needsUevents}`, () => {
  const descriptors = inNamespace(
    twoPairs,
    `
    import { readdirSync, writeFileSync } from "node:fs";
    import { watchKernel } from "./native/netlink/events.ts";
    const on = { functions() {}, links() {}, lost() {} };
    const count = () => readdirSync("/proc/self/fd").length;
    const round = async () => {
      const watch = watchKernel(on, 4096);
      await Bun.sleep(20);
      for (let storm = 0; storm < 3; storm++) {
        for (let i = 0; i < 500; i++) writeFileSync("/sys/class/mem/null/uevent", "change");
        await Bun.sleep(20);
      }
      const during = count();
      watch.close();
      await Bun.sleep(20);
      return [during, count()];
    };
    const first = await round();
    for (let i = 0; i < 5; i++) await round();
    console.log(JSON.stringify([first, await round()]));
    process.exit(0);
    `,
  ) as [number[], number[]];
  expect(descriptors[1]).toEqual(descriptors[0]);
});
