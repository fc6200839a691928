// Which RDMA devices can this network namespace see, and does each belong to one namespace or to all?
// RDMA netlink has no PCI parent: the function of a device is known from sysfs (drivers/infiniband/core/nldev.c).

import { decodeAttributes } from "./message.ts";
import { SystemError } from "../libc.ts";
import { NETLINK_RDMA, NetlinkSocket, type Transport, openTransport } from "./socket.ts";

// nlmsg_type is (client << 10) + command; the client NLDEV is 5 (include/uapi/rdma/rdma_netlink.h).
const NLDEV = 5 << 10;
const RDMA_NLDEV_CMD_GET = NLDEV + 1;
const RDMA_NLDEV_CMD_SYS_GET = NLDEV + 6;
const RDMA_NLDEV_CMD_RES_GET = NLDEV + 9;
const RDMA_NLDEV_ATTR_DEV_INDEX = 1;
const RDMA_NLDEV_ATTR_DEV_NAME = 2;
const RDMA_NLDEV_ATTR_RES_SUMMARY = 15;
const RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY = 16;
const RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_NAME = 17;
const RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_CURR = 18;
const RDMA_NLDEV_SYS_ATTR_NETNS_MODE = 66;
const RDMA_NLDEV_ATTR_DEV_PROTOCOL = 67;

export interface RdmaDevice {
  readonly index: number;
  readonly name: string;
  /** "ib", "roce", "iw", "opa" or "usnic"; null where the kernel does not report it. */
  readonly protocol: string | null;
}

export type RdmaNamespaceMode = "shared" | "exclusive";

/** Every RDMA device visible from this network namespace; null when the kernel has no RDMA. Throws what NetlinkSocket.dump throws. */
export function readRdmaDevices(open = openTransport): RdmaDevice[] | null {
  return withSocket(open, (socket) =>
    socket
      .dump(RDMA_NLDEV_CMD_GET, new Uint8Array(0))
      .map(({ payload }) => decodeRdmaDevice(payload))
      .filter((device) => device !== null),
  );
}

/** Whether RDMA devices are seen by every namespace or by one at a time; null when the kernel has no RDMA or no such mode. */
export function readRdmaNamespaceMode(open = openTransport): RdmaNamespaceMode | null {
  return withSocket(open, (socket) => {
    const [answer] = socket.request(RDMA_NLDEV_CMD_SYS_GET, 0, new Uint8Array(0));
    return answer === undefined ? null : decodeRdmaNamespaceMode(answer.payload);
  });
}

/**
 * How many user contexts each visible RDMA device has, by its name: each is an open uverbs device. Devices that the kernel does not
 * list are missing; null when the kernel has no RDMA. No driver is called, and no capability needed (nldev_res_get_dumpit in nldev.c);
 * kernels before 5.10 count those of the own PID namespace only (rdma_restrack_count in restrack.c). Throws what NetlinkSocket.dump throws.
 */
export function readRdmaContexts(open = openTransport): Map<string, number> | null {
  return withSocket(
    open,
    (socket) =>
      new Map(
        socket
          .dump(RDMA_NLDEV_CMD_RES_GET, new Uint8Array(0))
          .map(({ payload }) => decodeRdmaContexts(payload))
          .filter((counted) => counted !== null),
      ),
  );
}

/** An RDMA device's name and number of user contexts; null when the answer lacks either. Throws NetlinkFormatError. */
export function decodeRdmaContexts(payload: Uint8Array): [name: string, contexts: number] | null {
  const attributes = decodeAttributes(payload);
  const name = attributes.string(RDMA_NLDEV_ATTR_DEV_NAME);
  const summary = attributes.nested(RDMA_NLDEV_ATTR_RES_SUMMARY);
  if (name === null || summary === null) return null;
  const contexts = summary
    .all(RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY)
    .map((entry) => decodeAttributes(entry))
    .find((entry) => entry.string(RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_NAME) === "ctx")
    ?.u64(RDMA_NLDEV_ATTR_RES_SUMMARY_ENTRY_CURR);
  return contexts == null ? null : [name, Number(contexts)];
}

/** The device in an answer; null when it has no name. Throws NetlinkFormatError. */
export function decodeRdmaDevice(payload: Uint8Array): RdmaDevice | null {
  const attributes = decodeAttributes(payload);
  const index = attributes.u32(RDMA_NLDEV_ATTR_DEV_INDEX);
  const name = attributes.string(RDMA_NLDEV_ATTR_DEV_NAME);
  if (index === null || name === null) return null;
  return { index, name, protocol: attributes.string(RDMA_NLDEV_ATTR_DEV_PROTOCOL) };
}

/** The mode in an answer: 1 is shared, 0 exclusive; null when it is missing. Throws NetlinkFormatError. */
export function decodeRdmaNamespaceMode(payload: Uint8Array): RdmaNamespaceMode | null {
  const mode = decodeAttributes(payload).u8(RDMA_NLDEV_SYS_ATTR_NETNS_MODE);
  return mode === null ? null : mode === 0 ? "exclusive" : "shared";
}

/** Sends a request on a socket of its own; null when ib_core, which has the protocol, is not loaded. */
function withSocket<T>(open: (protocol: number) => Transport, ask: (socket: NetlinkSocket) => T): T | null {
  let socket: NetlinkSocket;
  try {
    socket = new NetlinkSocket(NETLINK_RDMA, open);
  } catch (error) {
    if (error instanceof SystemError && error.code === "EPROTONOSUPPORT") return null;
    throw error;
  }
  try {
    return ask(socket);
  } finally {
    socket.close();
  }
}
