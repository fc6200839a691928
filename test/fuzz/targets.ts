// What must hold whatever comes in? One property per source of input; run a while by fuzz.test.ts with fixed seeds, and for as
// long as one likes by scripts/test/fuzz.ts. A property fails by throwing.

import * as fc from "fast-check";
import type { PodDevice } from "../../src/pools/decide-allocations.ts";
import { askI40eDdpProfile, askPrivateFlag, DdpError } from "../../native/ethtool.ts";
import {
  readDevlinkDevices,
  readDevlinkInfo,
  readDevlinkInfos,
  readEnableRdma,
  readEswitchMode,
  readEswitchMultiport,
} from "../../native/netlink/devlink.ts";
import { concernsLinks, parseUevent } from "../../native/netlink/events.ts";
import { GenericNetlink } from "../../native/netlink/generic.ts";
import { decodeMessages, NetlinkFormatError } from "../../native/netlink/message.ts";
import { readRdmaDevices, readRdmaNamespaceMode } from "../../native/netlink/rdma.ts";
import { readDefaultRouteExits, readLinks } from "../../native/netlink/route.ts";
import { NETLINK_ROUTE, NetlinkError, NetlinkSocket, type Transport } from "../../native/netlink/socket.ts";
import { readVdpaDevices } from "../../native/netlink/vdpa.ts";
import { claimedDevices, prepareClaim, readClaimSpec } from "../../src/allocation/claim.ts";
import { stableJson } from "../../src/allocation/environment.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { loadConfig } from "../../src/config/load.ts";
import { cachedAnswerIn, devicesIn, recordsIn } from "../../src/kubelet/allocations.ts";
import { aResult, claimOf, driver, factsOf, ids, pools } from "../support/claims.ts";
import { answersOf, captureNames, readCapture, replay, replayEnd } from "../netlink/replay.ts";
import { sysfs } from "./sysfs-target.ts";

/** A source of input and what holds of it. */
export interface Target {
  readonly what: string;
  /** How many runs fit into the fast tests. */
  readonly runs: number;
  readonly property: fc.IRawProperty<unknown>;
}

/** Some edits of bytes: where, as a part of the whole, and what is put there. */
const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    cut: fc.oneof(fc.constant(0), fc.nat(8), fc.nat(200)),
    put: fc.oneof(
      fc.constant(new Uint8Array()),
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom(...[0, 1, 0x7f, 0x80, 0xff].map((byte) => Uint8Array.of(byte, byte))),
    ),
    over: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
);
type Edits = typeof edits extends fc.Arbitrary<infer T> ? T : never;

function edited(bytes: Uint8Array, changes: Edits): Uint8Array {
  return changes.reduce((before, { at, cut, put, over }) => {
    const start = Math.floor(at * before.length);
    return new Uint8Array(
      Buffer.concat([before.subarray(0, start), put, before.subarray(start + (over ? put.length : cut))]),
    );
  }, bytes);
}

const editedText = (text: string, changes: Edits): string =>
  Buffer.from(edited(Buffer.from(text), changes)).toString("utf8");

/** Runs something that may throw errors of these classes, and no others. */
function mayThrow(action: () => unknown, ...allowed: readonly (new (...args: never[]) => Error)[]): void {
  try {
    action();
  } catch (error) {
    if (error instanceof Error && error.message === replayEnd) return;
    if (!allowed.some((each) => error instanceof each)) throw error;
  }
}

type Open = (protocol: number) => Transport;
const devlinkDevice = ["pci", "0000:41:00.0"] as const;
const readers: readonly ((open: Open) => unknown)[] = [
  (open) => readLinks(new NetlinkSocket(NETLINK_ROUTE, open)),
  (open) => readDefaultRouteExits(new NetlinkSocket(NETLINK_ROUTE, open)),
  (open) => readDevlinkDevices(new GenericNetlink(open)),
  (open) => readEswitchMode(new GenericNetlink(open), ...devlinkDevice),
  (open) => readDevlinkInfo(new GenericNetlink(open), ...devlinkDevice),
  (open) => readDevlinkInfos(new GenericNetlink(open)),
  (open) => readEnableRdma(new GenericNetlink(open)),
  (open) => readEswitchMultiport(new GenericNetlink(open), [{ bus: "pci", device: "0000:3b:00.0" }]),
  (open) => readVdpaDevices(new GenericNetlink(open)),
  (open) => readRdmaDevices(open),
  (open) => readRdmaNamespaceMode(open),
];

const netlink = fc.property(
  fc.constantFrom(...captureNames()),
  fc.nat(readers.length - 1),
  fc.nat(40),
  edits,
  (name, reader, which, changes) => {
    const answers = answersOf(readCapture(name)).map((datagrams, index) =>
      datagrams.map((datagram, at) => ((index * 7 + at) % 3 === which % 3 ? edited(datagram, changes) : datagram)),
    );
    mayThrow(() => readers[reader]?.(replay(answers)), NetlinkFormatError, NetlinkError);
  },
);

const kernelEvents = fc.property(
  fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc
      .tuple(fc.constant("add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=pci\0SEQNUM=1\0"), edits)
      .map(([text, changes]) => edited(Buffer.from(text), changes)),
    fc
      .tuple(fc.constantFrom(...captureNames()), edits)
      .map(([name, changes]) => edited(readCapture(name).datagrams[0] ?? new Uint8Array(), changes)),
  ),
  (bytes) => {
    parseUevent(bytes);
    mayThrow(() => decodeMessages(bytes).map((message) => concernsLinks(message)), NetlinkFormatError);
  },
);

const firmware = fc.property(
  fc.array(fc.uint8Array({ maxLength: 1400 }), { maxLength: 6 }),
  fc.boolean(),
  (answers, isDriver) => {
    let calls = 0;
    const command = (structure: Uint8Array) => {
      if (calls === 0 && isDriver) structure.set(Buffer.from("i40e\0"), 4);
      else structure.set((answers[calls] ?? new Uint8Array()).subarray(0, structure.length));
      calls++;
    };
    mayThrow(() => askI40eDdpProfile(command, 0x1572, () => {}), DdpError);
    calls = 0;
    const flag = askPrivateFlag(command, "link-down-on-close");
    if (flag !== null && typeof flag !== "boolean") throw new Error(`the flag is ${String(flag)}`);
  },
);

const secret = "s3cr3t-v4lue";
const odd = fc.oneof(
  fc.constantFrom(
    null,
    true,
    0,
    -1,
    1e308,
    "",
    "x",
    "\0",
    "\ud800",
    "__proto__",
    "../..",
    "a/b",
    "ens1f0#0-3,9-1",
    "#",
    "0x7fff",
    [],
    {},
  ),
  fc.string({ maxLength: 300 }),
  fc.jsonValue({ maxDepth: 3 }),
);
const keys = [
  "resourceName",
  "resourcePrefix",
  "deviceType",
  "excludeTopology",
  "linkHealth",
  "iommufd",
  "selectors",
  "preferredAllocation",
  "vendors",
  "devices",
  "drivers",
  "pciAddresses",
  "acpiIndexes",
  "pfNames",
  "rootDevices",
  "linkTypes",
  "isRdma",
  "needVhostNet",
  "ddpProfiles",
  "pKeys",
  "vdpaType",
  "auxTypes",
  "__proto__",
  "constructor",
  "SELECTORS",
];
const selector = fc.dictionary(fc.constantFrom(...keys), fc.oneof(odd, fc.array(odd, { maxLength: 3 })), {
  maxKeys: 4,
});
const entry = fc
  .tuple(
    fc.dictionary(fc.constantFrom(...keys), odd, { maxKeys: 5 }),
    fc.oneof(selector, fc.array(fc.oneof(selector, odd), { maxLength: 3 })),
    fc.constantFrom("a", "b", "net_A", "x".repeat(64)),
  )
  .map(([fields, selectors, resourceName]) => ({
    resourceName,
    selectors,
    additionalInfo: { "*": { token: secret } },
    ...fields,
  }));
const configs = fc
  .array(fc.oneof({ weight: 5, arbitrary: entry }, { weight: 1, arbitrary: odd }), { maxLength: 5 })
  .map((resourceList) => JSON.stringify({ resourceList }));
const namePattern = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[a-zA-Z0-9]([-\w]{0,61}[a-zA-Z0-9])?$/;

const config = fc.property(configs, fc.option(edits, { nil: null }), (text, changes) => {
  const options = { resourcePrefix: "intel.com", useCdi: true, socketNameLimit: 73 };
  const { specs, problems, skipped } = loadConfig(changes ? editedText(text, changes) : text, options);
  if (specs === null && !problems.some(({ severity }) => severity === "error"))
    throw new Error("refused without an error");
  for (const { line, column, message, path } of problems) {
    if (!((line ?? 0) >= 1 && (column ?? 0) >= 1)) throw new Error(`at ${line}:${column}`);
    if (changes === null && `${message}${path}`.includes(secret))
      throw new Error("a value of additionalInfo is printed");
  }
  for (const { resource, prefix, name } of specs ?? []) {
    if (!namePattern.test(resource) || `${prefix}_${name}`.includes("/") || `${prefix}_${name}.sock`.length > 73)
      throw new Error(`${resource} is accepted`);
    if (skipped.includes(resource)) throw new Error(`${resource} is skipped and runs`);
  }
});

const info = fc.property(
  fc.dictionary(fc.string(), fc.dictionary(fc.string(), fc.string({ unit: "binary" }))),
  (value) => {
    if (!Bun.deepEquals(JSON.parse(stableJson(value)), JSON.parse(JSON.stringify(value))))
      throw new Error("another value");
  },
);

const checkpoints = fc.property(
  fc.oneof(
    fc.json(),
    fc
      .jsonValue({ maxDepth: 4 })
      .map((PodDeviceEntries) => JSON.stringify({ Data: { PodDeviceEntries }, Checksum: 1 })),
    fc
      .array(fc.oneof(fc.jsonValue(), fc.record({ ResourceName: odd, DeviceIDs: odd, AllocResp: odd })))
      .map((PodDeviceEntries) => JSON.stringify({ Data: { PodDeviceEntries } })),
    fc.string(),
  ),
  (text) => {
    let held: readonly PodDevice[];
    try {
      const records = recordsIn(text);
      for (const record of records) cachedAnswerIn(record);
      held = devicesIn(records);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error;
      return;
    }
    for (const value of held.flatMap((each) => Object.values(each)))
      if (typeof value !== "string") throw new Error("no text");
  },
);

const commandLines = fc.property(
  fc.array(
    fc.oneof(
      fc.string(),
      fc.constantFrom(
        "--root",
        "--log-level=",
        "-v",
        "--",
        "--json=maybe",
        "--resync-interval=-1",
        "--no-such",
        "-",
        "discover",
        "explain",
      ),
    ),
    { maxLength: 6 },
  ),
  (args) => {
    const { problems, options } = parseCommandLine(args);
    if (problems.length === 0 && !(options["resync-interval"] >= 1)) throw new Error("an interval below 1");
  },
);

const spec = (): Buffer => {
  const claim = claimOf(aResult("a", ids(0)), aResult("b", ids(4)));
  const prepared = prepareClaim(claim, claimedDevices(claim, driver, pools), ({ id }) => factsOf(id), driver);
  return Buffer.from(JSON.stringify(prepared.spec));
};

const claimSpecs = fc.property(edits, (changes) => {
  const text = Buffer.from(edited(spec(), changes)).toString();
  const content = readClaimSpec(text, driver);
  if (content?.record.devices.some(({ id, resource }) => typeof id !== "string" || typeof resource !== "string"))
    throw new Error("a device that is none");
});

const raw = (property: unknown) => property as fc.IRawProperty<unknown>;

export const targets = {
  netlink: {
    what: "whatever netlink answers, readers give facts or say that the bytes are wrong",
    runs: 3000,
    property: raw(netlink),
  },
  events: { what: "whatever the kernel multicasts is an event or is ignored", runs: 1500, property: raw(kernelEvents) },
  firmware: {
    what: "whatever a NIC's firmware answers is a profile or a known problem",
    runs: 300,
    property: raw(firmware),
  },
  config: {
    what: "whatever is in the config file is pools or problems with their places",
    runs: 1500,
    property: raw(config),
  },
  info: { what: "whatever additionalInfo holds is the same in INFO", runs: 200, property: raw(info) },
  checkpoint: {
    what: "whatever the kubelet's checkpoint holds is holdings or an error",
    runs: 1000,
    property: raw(checkpoints),
  },
  claimSpecs: {
    what: "whatever a claim's spec was made into is a record or is none",
    runs: 1000,
    property: raw(claimSpecs),
  },
  commandLine: {
    what: "whatever the command line says is options or problems",
    runs: 500,
    property: raw(commandLines),
  },
  sysfs: {
    what: "whatever sysfs holds, untouched devices are what they were, and no device stops the scan",
    runs: 120,
    property: raw(sysfs),
  },
} as const satisfies Record<string, Target>;

export type TargetName = keyof typeof targets;
