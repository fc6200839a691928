// Mount and network namespaces in which a simulated node is the machine: a plugin without --root runs on it as on a node.

import { symlinkSync, writeFileSync } from "node:fs";
import { readFacts } from "../../test/support/node-changes.ts";
import type { TestNode } from "../../test/support/plugin.ts";
import { pciIds } from "./pci-ids.ts";

/** Where the node's tree is inside; its folder outside may be below one that is mounted over, as /dev/shm is. */
const treeInside = "/run/node";

/** The list of PCI ids that the upstream plugin needs, below the tree: its library reads the one that PCIDB_PATH names (github.com/jaypipes/pcidb). */
const pciIdsName = "pci.ids";

/** Character devices that every process may open; a recorded tree has none. */
const commonDevices = ["null", "zero", "full", "random", "urandom", "tty"];

/**
 * The script that makes the namespaces the node; $1 is the tree.
 *
 * Nothing is created on the machine: folders that it may lack are made in new, empty /run and /var/lib, and what a plugin writes goes
 * to the tree. Interfaces are of a kind without a peer: one that is stacked on another (iflink) is no port of its device.
 */
function script(interfaces: readonly string[]): string {
  return `set -eu
mount --make-rprivate /
kind=dummy
ip link add probe type dummy 2>/dev/null || kind=ifb
ip -batch - <<END
${interfaces.map((name) => `link add ${name} type $kind\nlink set ${name} up`).join("\n")}
END
mount -t tmpfs tmpfs /run
[ -L /var/run ] || mount --bind /run /var/run
mount -t tmpfs tmpfs /var/lib
mkdir -p ${treeInside} /run/k8s.cni.cncf.io /var/lib/kubelet
mount --bind "$1" ${treeInside}
cd ${treeInside}
mkdir -p dev var/run/k8s.cni.cncf.io
for name in ${commonDevices.join(" ")}; do
  touch dev/$name
  mount --bind /dev/$name dev/$name
done
mount --bind sys /sys
mount --bind var/lib/kubelet /var/lib/kubelet
mount --bind var/run/k8s.cni.cncf.io /run/k8s.cni.cncf.io
mount --rbind dev /dev
echo ready
exec cat >/dev/null
`;
}

/** The namespaces of a node; they last until this is disposed of and no process is left inside. */
export class NodeNamespace implements AsyncDisposable {
  /** The node's config file, as it is named inside. */
  readonly configFile: string;
  readonly #holder: Bun.Subprocess<"pipe", "pipe", "inherit">;

  private constructor(holder: Bun.Subprocess<"pipe", "pipe", "inherit">, configFile: string) {
    this.#holder = holder;
    this.configFile = configFile;
  }

  /** Makes the namespaces of a node whose kubelet runs. Needs root, unshare, nsenter and ip; rejects without them. */
  static async of({ root, configFile }: TestNode): Promise<NodeNamespace> {
    const interfaces = readFacts(root)
      .links.map(({ name }) => name)
      .filter((name) => name !== "lo");
    for (const name of interfaces) {
      // The kernel knows no parent device of such an interface; both plugins then find it in sysfs, as on kernels before 5.14.
      const device = `${root}/sys/class/net/${name}/device`;
      symlinkSync("../..", device);
      symlinkSync("/sys/bus/pci", `${device}/subsystem`);
    }
    writeFileSync(`${root}/${pciIdsName}`, pciIds());
    // The holder ends with its standard input, so it does not outlive the benchmark.
    const holder = Bun.spawn(["unshare", "--mount", "--net", "sh", "-c", script(interfaces), "sh", root], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    const { done } = await holder.stdout.getReader().read();
    if (done) throw new Error("cannot make the namespaces of a simulated node; run the benchmark as root");
    return new NodeNamespace(holder, configFile.replace(root, treeInside));
  }

  /** The command that runs its arguments inside, with more variables ("NAME=VALUE"); it executes them, so its process becomes theirs. */
  under(variables: readonly string[]): string[] {
    const enter = ["nsenter", `--target=${this.#holder.pid}`, "--mount", "--net", "--"];
    return [...enter, "env", `PCIDB_PATH=${treeInside}/${pciIdsName}`, ...variables];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.kill("SIGKILL");
    await this.#holder.exited;
  }
}
