// An Open vSwitch datapath without Open vSwitch: made over generic netlink, as ovs-vswitchd does it
// (include/uapi/linux/openvswitch.h). It has an internal port of its own name; further interfaces become its ports.
import { terminated, u32Bytes, writer } from "../../../native/bytes.ts";
import { encodeAttributes, NLM_F_ACK, type Attribute } from "../../../native/netlink/message.ts";
import { GenericNetlink } from "../../../native/netlink/generic.ts";
import { NETLINK_GENERIC, NetlinkSocket } from "../../../native/netlink/socket.ts";
import { loadModules, readSys } from "./support.ts";

const OVS_DP_CMD_NEW = 1;
const OVS_DP_CMD_DEL = 2;
const OVS_DP_ATTR_NAME = 1;
const OVS_DP_ATTR_UPCALL_PID = 2;
const OVS_VPORT_CMD_NEW = 1;
const OVS_VPORT_ATTR_TYPE = 2;
const OVS_VPORT_ATTR_NAME = 3;
const OVS_VPORT_ATTR_UPCALL_PID = 5;
const OVS_VPORT_TYPE_NETDEV = 1;

/** Makes a datapath with these interfaces as ports. Returns what takes it away again. */
export async function ovsDatapath(name: string, ports: readonly string[]): Promise<() => void> {
  await loadModules("openvswitch");
  request("ovs_datapath", OVS_DP_CMD_NEW, 0, [
    { type: OVS_DP_ATTR_NAME, data: terminated(name) },
    { type: OVS_DP_ATTR_UPCALL_PID, data: u32Bytes(0) },
  ]);
  const index = Number(readSys(`/sys/class/net/${name}/ifindex`));
  for (const port of ports) {
    request("ovs_vport", OVS_VPORT_CMD_NEW, index, [
      { type: OVS_VPORT_ATTR_TYPE, data: u32Bytes(OVS_VPORT_TYPE_NETDEV) },
      { type: OVS_VPORT_ATTR_NAME, data: terminated(port) },
      { type: OVS_VPORT_ATTR_UPCALL_PID, data: u32Bytes(0) },
    ]);
  }
  return () => request("ovs_datapath", OVS_DP_CMD_DEL, index, []);
}

/** genlmsghdr, then struct ovs_header with the datapath's index, then attributes. */
function request(familyName: string, command: number, datapath: number, attributes: readonly Attribute[]): void {
  const generic = new GenericNetlink();
  const family = generic.family(familyName);
  generic.close();
  if (!family) throw new Error(`no generic netlink family ${familyName}`);
  const encoded = encodeAttributes(attributes);
  const payload = writer(8 + encoded.length)
    .u8(0, command)
    .u8(1, family.version)
    .u32(4, datapath)
    .raw(8, encoded).bytes;
  const socket = new NetlinkSocket(NETLINK_GENERIC);
  try {
    socket.request(family.id, NLM_F_ACK, payload);
  } finally {
    socket.close();
  }
}
