// A CNI plugin for pods with a network of their own: eth0 without any use, so that the pod has an address, and the netdevs
// of the devices that the kubelet gave the pod as net1, net2 …; DEL gives them back under their names.
// Which devices: from the kubelet's checkpoint by the pod's UID, as Multus does without pod-resources.
// It also stands in for the plugin "loopback".
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";

interface Moved {
  readonly from: string;
  readonly to: string;
}

const variable = (name: string): string => process.env[name] ?? "";
const netns = basename(variable("CNI_NETNS"));
const notes = `/run/vf-cni/${variable("CNI_CONTAINERID")}.json`;
const config = JSON.parse(await Bun.stdin.text()) as { cniVersion: string; type: string };
// The same in every pod: nothing routes between them.
const address = "10.244.0.2/16";
const ip = (...words: string[]): void => {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...words]);
  if (exitCode !== 0) throw new Error(`ip ${words.join(" ")}: ${stderr.toString().trim()}`);
};

function add(): object {
  const { cniVersion } = config;
  if (config.type === "loopback") {
    ip("-n", netns, "link", "set", "lo", "up");
    return {
      cniVersion,
      interfaces: [{ name: "lo", sandbox: variable("CNI_NETNS") }],
      ips: [{ address: "127.0.0.1/8", interface: 0 }],
    };
  }
  ip("-n", netns, "link", "add", "eth0", "type", "dummy");
  ip("-n", netns, "address", "add", address, "dev", "eth0");
  ip("-n", netns, "link", "set", "eth0", "up");
  const moved = podDevices()
    .flatMap(netdevs)
    .map((from, index) => ({ from, to: `net${index + 1}` }));
  mkdirSync("/run/vf-cni", { recursive: true });
  writeFileSync(notes, JSON.stringify(moved));
  for (const { from, to } of moved) {
    ip("link", "set", from, "down");
    // In one request, since the pod may have an interface of the name that it had on the host.
    ip("link", "set", from, "netns", netns, "name", to);
    ip("-n", netns, "link", "set", to, "up");
  }
  const names = ["eth0", ...moved.map(({ to }) => to)];
  return {
    cniVersion,
    interfaces: names.map((name) => ({ name, sandbox: variable("CNI_NETNS") })),
    ips: [{ address, interface: 0 }],
  };
}

// May be called again, after an ADD that failed half-way, and when the namespace is gone: then the kernel has given the
// netdevs back to the host.
function del(): void {
  if (config.type === "loopback" || !existsSync(notes)) return;
  for (const { from, to } of JSON.parse(readFileSync(notes, "utf8")) as Moved[]) {
    const name = freeName(from);
    if (inPod(to)) {
      ip("-n", netns, "link", "set", to, "down");
      ip("-n", netns, "link", "set", to, "netns", "1", "name", name);
    } else if (existsSync(`/sys/class/net/${to}`)) {
      ip("link", "set", to, "down", "name", name);
    }
  }
  rmSync(notes);
}

/** The name on the host; another one where an interface that was made meanwhile has taken it. */
function freeName(name: string): string {
  const names = [name, ...Array.from({ length: 1000 }, (_, index) => `back${index}`)];
  return names.find((each) => !existsSync(`/sys/class/net/${each}`)) ?? name;
}

const inPod = (netdev: string): boolean =>
  netns !== "" && Bun.spawnSync(["ip", "-n", netns, "link", "show", netdev], { stderr: "ignore" }).exitCode === 0;

const checkpoint = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";

function podDevices(): string[] {
  const uid = new URLSearchParams(variable("CNI_ARGS").replaceAll(";", "&")).get("K8S_POD_UID");
  // The kubelet has none before the first plugin registers.
  if (!existsSync(checkpoint)) return [];
  const { Data } = JSON.parse(readFileSync(checkpoint, "utf8")) as {
    Data: { PodDeviceEntries: { PodUID: string; DeviceIDs: Record<string, string[]> }[] | null };
  };
  return (Data.PodDeviceEntries ?? [])
    .filter(({ PodUID }) => PodUID === uid)
    .flatMap(({ DeviceIDs }) => Object.values(DeviceIDs).flat());
}

function netdevs(device: string): string[] {
  const folders = ["pci", "auxiliary"].map((bus) => `/sys/bus/${bus}/devices/${device}/net`);
  return folders.filter((folder) => existsSync(folder)).flatMap((folder) => readdirSync(folder));
}

try {
  const command = variable("CNI_COMMAND");
  if (command === "VERSION")
    console.log(JSON.stringify({ cniVersion: "1.0.0", supportedVersions: ["0.3.1", "0.4.0", "1.0.0"] }));
  else if (command === "ADD") console.log(JSON.stringify(add()));
  else if (command === "DEL") del();
} catch (error) {
  console.log(JSON.stringify({ cniVersion: config.cniVersion, code: 100, msg: String(error) }));
  process.exitCode = 1;
}
