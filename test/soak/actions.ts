// What happens to a node in months, in a few minutes? One row per kind of event; each changes node, kubelet or config, and
// the truth with it.

import { rmSync } from "node:fs";
import { pluginClient } from "../support/grpc.ts";
import {
  functionsChanged,
  moveNetdevAway,
  rebind,
  remakeInterface,
  removeFunction,
  setBond,
  setLink,
  setPortState,
  setVfLinkState,
} from "../support/live.ts";
import { changeFacts } from "../support/node-changes.ts";
import { configText, someConfig, writeConfig } from "./configs.ts";
import {
  anyVf,
  bond,
  count,
  drivers,
  endPod,
  freeVf,
  makeVf,
  mostVfs,
  pfOf,
  pfs,
  readmitPods,
  type World,
} from "./world.ts";

interface Action {
  /** How often it is chosen, relative to the others. */
  readonly weight: number;
  readonly run: (world: World) => void | Promise<void>;
  /** Only while the plugin may be restarted. */
  readonly restarts?: true;
}

export const actions = {
  "VFs are made": {
    weight: 6,
    run: (world) => {
      const { name } = world.random.of(pfs);
      const room = mostVfs - world.truth.of(name).length;
      for (let more = Math.min(room, world.random.between(1, 6)); more > 0; more--) makeVf(world, name);
    },
  },
  "VFs are removed": {
    weight: 5,
    run: (world) => {
      const { node, truth, random } = world;
      const { name } = random.of(pfs);
      // As sriov_numvfs falls: from the last index on.
      for (let fewer = random.between(1, 6); fewer > 0; fewer--) {
        const last = truth.of(name).at(-1);
        if (!last || truth.held.has(last.address)) return;
        removeFunction(node.root, last.address);
        truth.vfs.delete(last.address);
      }
    },
  },
  "another driver is bound": {
    weight: 5,
    run: ({ node, truth, random }) => {
      const vf = freeVf(truth, random);
      if (!vf) return;
      vf.driver = random.once(4) ? null : random.of(drivers);
      rebind(node.root, vf.address, vf.driver);
    },
  },
  "a PF's link flaps": {
    weight: 8,
    run: async ({ node, truth, random }) => {
      const { name } = random.of(pfs);
      for (let flaps = random.between(1, 12); flaps > 0; flaps--) {
        const link = random.once(2) ? "up" : random.of(["down", "disabled"] as const);
        setLink(node.root, name, link);
        pfOf(truth, name).link = link;
        await Bun.sleep(random.below(120));
      }
    },
  },
  "an InfiniBand port changes its state": {
    weight: 3,
    run: ({ node, truth, random }) => {
      const port = pfs.find(({ fabric }) => fabric === "port")!;
      const state = random.of(["1: DOWN", "1: DOWN", "2: INIT", "3: ARMED", "4: ACTIVE", null] as const);
      setPortState(node.root, port.address, state);
      pfOf(truth, port.name).portDown = state === "1: DOWN";
    },
  },
  "a bond is dissolved or made again": {
    weight: 3,
    run: ({ node, truth, random }) => {
      truth.bonded = random.once(2);
      setBond(node.root, bond.ports, truth.bonded ? bond.name : null);
    },
  },
  "link-down-on-close is switched": {
    weight: 2,
    run: ({ node, truth, random }) => {
      const { name } = pfs.find(({ fabric }) => fabric === "link, unless set down")!;
      const linkDownOnClose = random.once(2);
      changeFacts(node.root, () => ({ ethtool: [{ interfaceName: name, linkDownOnClose }] }));
      pfOf(truth, name).downOnClose = linkDownOnClose;
    },
  },
  "a PF's interface is re-created": {
    weight: 3,
    run: async ({ node, random }) => {
      const { name, address } = random.of(pfs);
      // For a moment it has the kernel's name, which is not in the config: no device may move.
      remakeInterface(node.root, address, "eth0", random.of([1, null]));
      if (random.once(2)) functionsChanged(node.root);
      await Bun.sleep(random.below(1500));
      remakeInterface(node.root, address, name, 4);
      functionsChanged(node.root);
    },
  },
  "a VF's link-state policy changes": {
    weight: 4,
    run: ({ node, truth, random }) => {
      const vf = anyVf(truth, random);
      if (!vf) return;
      vf.linkState = random.of(["auto", "enable", "disable"] as const);
      setVfLinkState(node.root, vf.pf, vf.index, vf.linkState);
    },
  },
  "events without a change": {
    weight: 2,
    run: async ({ node, random }) => {
      for (let events = random.between(5, 50); events > 0; events--) {
        functionsChanged(node.root);
        await Bun.sleep(random.below(10));
      }
    },
  },
  "a pod starts": {
    weight: 10,
    run: async (world) => {
      const { node, truth, random, counts } = world;
      const choices = node.kubelet.resources.filter(
        (resource) => node.kubelet.resource(resource).connected && node.kubelet.free(resource).length > 0,
      );
      if (choices.length === 0) return;
      const resource = random.of(choices);
      const ids = node.kubelet.free(resource).slice(0, random.between(1, 3));
      const pod = `pod-${world.pods++}`;
      try {
        await node.kubelet.allocate(resource, ids, { pod });
      } catch (error) {
        // The lists are behind the node for a moment, and the kubelet restarts in between: then a pod is refused.
        count(
          counts,
          `refused: ${/device|gone|left|unregistered|UNAVAILABLE|no longer|Cancelled|requested/.exec(String(error))?.[0] ?? String(error)}`,
        );
        return;
      }
      count(counts, "allocated");
      for (const address of ids) {
        const other = truth.held.get(address);
        if (other) throw new Error(`${address} was given to ${pod} and is held by ${other.pod}`);
        const vf = truth.vfs.get(address);
        const isNetdev = vf?.driver === "iavf";
        const bringBack = isNetdev && random.once(2) ? moveNetdevAway(node.root, address) : null;
        truth.held.set(address, { pod, resource, address, bringBack });
      }
    },
  },
  "a pod ends": {
    weight: 9,
    run: ({ node, truth, random }) => {
      const pods = [...new Set([...truth.held.values()].map(({ pod }) => pod))];
      if (pods.length > 0) endPod(node, truth, random.of(pods));
    },
  },
  "the config is edited": {
    weight: 6,
    run: async ({ node, truth, random }) => {
      if (random.once(4)) {
        // Refused; the running config stays, and the next edit is taken up.
        writeConfig(node, random.of(["{", '{"resourceList":[{}]}', '{"resourceList":[{"resourceName":"a"}]}']), random);
        await Bun.sleep(random.of([0, 1500]));
      } else truth.config = someConfig(random);
      writeConfig(node, configText(truth.config), random);
    },
  },
  "the kubelet restarts": {
    weight: 4,
    run: ({ node, random }) => node.kubelet.restart(random.of([0, 0, 50, 1500])),
  },
  "the kubelet loses a connection": {
    weight: 3,
    run: ({ node, random }) => {
      const open = node.kubelet.resources.filter((resource) => node.kubelet.resource(resource).connected);
      if (open.length > 0) node.kubelet.breakConnection(random.of(open));
    },
  },
  "the kubelet refuses for a while": {
    weight: 1,
    run: async ({ node, random }) => {
      node.kubelet.registration = random.of(["refuse", "hang"] as const);
      await node.kubelet.restart();
      await Bun.sleep(random.between(200, 1500));
      node.kubelet.registration = "accept";
      await node.kubelet.restart();
    },
  },
  "a socket is deleted": {
    weight: 2,
    run: ({ node, random }) => {
      const folder = node.kubelet.mode === "watcher" ? node.kubelet.registry : node.kubelet.devicePlugins;
      const sockets = node.names(folder).filter((name) => name.startsWith("intel.com_"));
      if (sockets.length > 0) rmSync(`${folder}/${random.of(sockets)}`, { force: true });
    },
  },
  "other clients open and drop streams": {
    weight: 5,
    run: async ({ node, random, counts }) => {
      const folder = node.kubelet.mode === "watcher" ? node.kubelet.registry : node.kubelet.devicePlugins;
      const sockets = node.names(folder).filter((name) => name.startsWith("intel.com_"));
      if (sockets.length === 0) return;
      for (let times = random.between(5, 40); times > 0; times--) {
        const client = pluginClient(`${folder}/${random.of(sockets)}`);
        const stream = client.listAndWatch({});
        stream.on("error", () => {});
        stream.on("data", () => stream.cancel());
        await Bun.sleep(random.below(30));
        stream.cancel();
        client.close();
        count(counts, "other clients' streams");
      }
    },
  },
  "the plugin is stopped and goes on": {
    weight: 2,
    run: async ({ node, random }) => {
      node.plugin.signal("SIGSTOP");
      await Bun.sleep(random.between(100, 1500));
      node.plugin.signal("SIGCONT");
    },
  },
  "a reload is requested": { weight: 1, run: ({ node }) => node.plugin.signal("SIGHUP") },
  "the plugin is restarted": {
    weight: 8,
    restarts: true,
    run: async (world) => {
      // A plugin that starts with a file that is refused ends at once.
      writeConfig(world.node, configText(world.truth.config), world.random);
      if (world.random.once(2)) await world.node.plugin.stop();
      else {
        world.node.plugin.kill();
        await world.node.plugin.ended();
      }
      await Bun.sleep(world.random.of([0, 0, 300]));
      world.startPlugin();
      // Until then a signal ends it, and so does a file that is refused.
      await world.node.plugin.waitUntilReady();
    },
  },
  "the node is rebooted": {
    weight: 5,
    restarts: true,
    run: async (world) => {
      const { node, truth, random } = world;
      writeConfig(node, configText(truth.config), random);
      if (random.once(2)) await node.plugin.stop();
      else {
        node.plugin.kill();
        await node.plugin.ended();
      }
      node.kubelet.stop();
      for (const { bringBack } of truth.held.values()) bringBack?.();
      truth.held.clear();
      for (const folder of [node.deviceInfoFolder, node.cdiFolder]) rmSync(folder, { recursive: true, force: true });
      // VFs are re-created: a random number of them, with any driver, and with other IOMMU groups.
      for (const { address } of [...truth.vfs.values()].toReversed()) removeFunction(node.root, address);
      truth.vfs.clear();
      for (const { name } of pfs) for (let count = random.below(mostVfs); count > 0; count--) makeVf(world, name);
      // Either comes first.
      const isKubeletFirst = random.once(2);
      if (isKubeletFirst) await node.kubelet.start();
      world.startPlugin();
      if (!isKubeletFirst) await node.kubelet.start();
      await node.plugin.waitUntilReady();
      // The lists may be there by then, or not yet.
      await Bun.sleep(random.of([0, 1500]));
      readmitPods(world);
    },
  },
} as const satisfies Record<string, Action>;

export type ActionName = keyof typeof actions;

/** The name of an action, by weight. */
export function chooseAction({ random, restarts }: World): ActionName {
  const rows = (Object.entries(actions) as [ActionName, Action][]).filter(([, row]) => restarts || !row.restarts);
  let at = random.below(rows.reduce((sum, [, { weight }]) => sum + weight, 0));
  for (const [name, { weight }] of rows) {
    at -= weight;
    if (at < 0) return name;
  }
  throw new Error("weights add up to less than their sum");
}
