// The thread that scans the node. Sysfs attributes, devlink and ethtool are answered by drivers, late or never: whatever waits for them waits
// here, and not where the kubelet is answered.

import { messageOf } from "../text.ts";
import type { Device } from "./device.ts";
import { encodeDevices } from "./device-text.ts";
import { scanNode, type ScannedNode } from "./scan.ts";
import type { ScanOrder, ScanReply, ThreadOrder } from "./scanner.ts";
import { ScanProgress } from "./scan-progress.ts";

/** The global of a Worker, as far as it is used here. */
declare const self: {
  addEventListener(type: "message", listener: (event: { readonly data: ThreadOrder }) => void): void;
  postMessage(reply: ScanReply): void;
};

let last: ScannedNode | null = null;
/** The devices as they were sent last: what did not change is not sent, nor made, again. */
let sent: ReadonlyMap<string, Device> = new Map();
const ddpAnswers = new Map<string, string | null>();

self.addEventListener("message", ({ data }) => {
  if (data === "rest") Bun.shrink();
  else void scan(data).then((reply) => self.postMessage(reply));
});

async function scan({ number, root, facts, isWhole, progress }: ScanOrder): Promise<ScanReply> {
  const reached = new ScanProgress(progress);
  try {
    const scanned = await scanNode(root, facts, isWhole ? null : last, {
      ddpAnswers,
      reached: (what) => reached.note(what),
    });
    last = scanned;
    const changed = scanned.devices.filter((device) => !Bun.deepEquals(sent.get(device.id), device));
    const fresh = new Map(changed.map((device) => [device.id, device]));
    sent = new Map(scanned.devices.map(({ id }) => [id, fresh.get(id) ?? (sent.get(id) as Device)]));
    return {
      number,
      ids: [...sent.keys()],
      changed: encodeDevices(changed),
      problems: scanned.problems,
      hasDefaultRoute: scanned.kernel.defaultRouteExits.length > 0,
    };
  } catch (error) {
    return { number, error: messageOf(error) };
  } finally {
    reached.note("");
  }
}
