// What does this kernel answer, byte by byte? Writes the raw datagrams of every question to <folder>/<prefix>-<question>.hex.
// bun test/netlink/capture.ts <folder> <prefix> <origin in a few words>; what the kernel lacks or refuses is only reported.

import { writeFileSync } from "node:fs";
import { GenericNetlink } from "../../native/netlink/generic.ts";
import {
  readDevlinkDevices,
  readDevlinkInfo,
  readDevlinkInfos,
  readEnableRdma,
  readEswitchMode,
} from "../../native/netlink/devlink.ts";
import { readRdmaDevices, readRdmaNamespaceMode } from "../../native/netlink/rdma.ts";
import { readDefaultRouteExits, readLinks } from "../../native/netlink/route.ts";
import { NETLINK_ROUTE, NetlinkSocket, type Transport, openTransport } from "../../native/netlink/socket.ts";
import { readVdpaDevices } from "../../native/netlink/vdpa.ts";

type Open = (protocol: number) => Transport;

function recording(datagrams: Uint8Array[]): Open {
  return (protocol) => {
    const transport = openTransport(protocol);
    return {
      ...transport,
      receive(buffer) {
        const received = transport.receive(buffer);
        datagrams.push(buffer.slice(0, received.length));
        return received;
      },
    };
  };
}

const overRoute = (ask: (socket: NetlinkSocket) => unknown) => (open: Open) =>
  ask(new NetlinkSocket(NETLINK_ROUTE, open));
const overGeneric = (ask: (generic: GenericNetlink) => unknown) => (open: Open) => ask(new GenericNetlink(open));

const questions: Readonly<Record<string, (open: Open) => unknown>> = {
  links: overRoute(readLinks),
  routes: overRoute(readDefaultRouteExits),
  "family-ethtool": overGeneric((generic) => generic.family("ethtool")),
  "devlink-devices": overGeneric(readDevlinkDevices),
  "devlink-eswitch": overGeneric((generic) => eachDevice(generic, readEswitchMode)),
  "devlink-info": overGeneric((generic) => eachDevice(generic, readDevlinkInfo)),
  "devlink-infos": overGeneric(readDevlinkInfos),
  "devlink-enable-rdma": overGeneric(readEnableRdma),
  vdpa: overGeneric(readVdpaDevices),
  "rdma-devices": readRdmaDevices,
  "rdma-mode": readRdmaNamespaceMode,
};

// The list is requested on a socket of its own, so that the capture holds the answers about the devices alone.
function eachDevice(
  generic: GenericNetlink,
  read: (generic: GenericNetlink, bus: string, device: string) => unknown,
): unknown {
  return readDevlinkDevices(new GenericNetlink()).map(({ bus, device }) => read(generic, bus, device));
}

/** Sends every request, and keeps the answers. */
export function capture(folder: string, prefix: string, origin: string): void {
  for (const [name, ask] of Object.entries(questions)) {
    const datagrams: Uint8Array[] = [];
    try {
      console.log(name, ask(recording(datagrams)));
    } catch (error) {
      console.log(name, String(error));
    }
    if (datagrams.length === 0) continue;
    const lines = datagrams.map((datagram) => datagram.toHex());
    writeFileSync(`${folder}/${prefix}-${name}.hex`, `# ${origin}\n${lines.join("\n")}\n`);
  }
}

if (import.meta.main) capture(process.argv[2] ?? ".", process.argv[3] ?? "host", process.argv.slice(4).join(" "));
