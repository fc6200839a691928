// The guest's machine from outside, by QEMU's monitor: carriers, plugging and unplugging.

import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { devices, waitFor } from "./support.ts";

interface QmpReply {
  readonly id?: string;
  readonly return?: string;
  readonly error?: { readonly desc: string };
}

let monitorCommands = 0;

async function qmp(execute: string, parameters: object = {}): Promise<QmpReply> {
  const id = `${process.pid}-${++monitorCommands}`;
  appendFileSync("/dev/ttyS1", `${JSON.stringify({ execute, arguments: parameters, id })}\n`);
  return waitFor(`QEMU's answer to ${execute}`, () => {
    const lines = readFileSync("/run/monitor", "utf8").split(/\r?\n/).slice(0, -1);
    return lines
      .flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as QmpReply] : []))
      .find((reply) => reply.id === id);
  });
}

/** A command of QEMU's human monitor (set_link nic0 off, device_add …, device_del …); throws if QEMU prints anything but the command's output. */
export async function monitor(command: string): Promise<string> {
  if (monitorCommands === 0) {
    // The terminal has echoed a piece of QEMU's greeting before init turned that off: this byte resets QEMU's parser.
    writeFileSync("/dev/ttyS1", Buffer.from([0xff]));
    // No other command is taken before this one. In the next test file it is refused, which does no harm.
    await qmp("qmp_capabilities");
  }
  const { return: answer, error } = await qmp("human-monitor-command", { "command-line": command });
  if (error) throw new Error(`monitor: ${command}: ${error.desc}`);
  const text = (answer ?? "").trim();
  if (text.startsWith("Error")) throw new Error(`monitor: ${command}: ${text}`);
  return text;
}

/** Carrier of a NIC of the machine (nic0 is pf0, nic1 is pf1) */
export const setCarrier = (nic: string, state: "on" | "off"): Promise<string> => monitor(`set_link ${nic} ${state}`);

/** Hot-unplugs by the machine's name (nic0) and waits until the PCI function is gone: the slot gives it 5 s before the power goes. */
export async function unplug(id: string, bdf: string): Promise<void> {
  await monitor(`device_del ${id}`);
  await waitFor(`${bdf} unplugged`, () => !existsSync(`${devices}/${bdf}`), 60);
}

/** Hot-plugs a NIC of a QEMU model (igb, e1000e, virtio-net-pci) into a free port and returns its BDF. port2 is on node 1, port3 on node 0. */
export async function plug(model: string, id: string, port: "port0" | "port1" | "port2" | "port3"): Promise<string> {
  const before = new Set(readdirSync(devices));
  await monitor(`netdev_add hubport,id=net-${id},hubid=0`);
  await monitor(`device_add ${model},id=${id},bus=${port},netdev=net-${id},romfile=`);
  return waitFor(`a PCI function of ${id}`, () => readdirSync(devices).find((bdf) => !before.has(bdf)), 60);
}
