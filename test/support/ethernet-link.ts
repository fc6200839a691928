// A network interface as rtnetlink reports it, for tests.

import type { Link } from "../../native/netlink/route.ts";

/** An Ethernet interface that is up and on no device and no other interface, but for these fields. */
export const ethernetLink = (index: number, name: string, more: Partial<Link> = {}): Link => ({
  index,
  name,
  arphrd: 1,
  flags: 0x1003,
  operstate: "up",
  carrier: true,
  master: null,
  lower: null,
  kind: null,
  slaveKind: null,
  parentBus: null,
  parentDevice: null,
  switchId: null,
  portName: null,
  carrierUps: null,
  portId: null,
  vfLinkStates: {},
  ...more,
});
