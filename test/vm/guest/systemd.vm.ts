// boot: init=systemd memory=2048 limit=400
// The shipped unit under a real systemd: does the plugin do its job inside the sandbox, and does systemd see its state?
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { KubeletDouble } from "../../support/kubelet.ts";
import { deviceInfoFolder, type Entry, kubeletRoot, unhealthyIn, writeConfig } from "./plugin.ts";
import { attempt, bind, createVfs, executable, iommuGroupOf, pf0, reset, sh, waitFor } from "./support.ts";
import { setCarrier } from "./monitor.ts";

const dropIns = "/run/systemd/system/sriovdp.service.d";
const registry = `${kubeletRoot}/plugins_registry`;
let vfs: string[] = [];
let kubelet: KubeletDouble | null = null;

const net: Entry = { resourceName: "net", selectors: { pfNames: ["pf0#2-3"] } };
const dpdk: Entry = { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } };

beforeAll(async () => {
  await reset();
  vfs = await createVfs(pf0, 4);
  await bind(vfs[0] ?? "", "vfio-pci");
  mkdirSync("/usr/local/bin", { recursive: true });
  copyFileSync(executable, "/usr/local/bin/sriovdp");
  // The guest has busybox for what every Debian has.
  for (const name of ["mkdir", "kill"]) await sh(`test -e /bin/${name} || ln -s busybox /bin/${name}`);
  mkdirSync("/etc/systemd/system", { recursive: true });
  copyFileSync("/payload/deployments/sriovdp.service", "/etc/systemd/system/sriovdp.service");
  writeDropIn("10-test", "[Service]\nExecStart=\nExecStart=/usr/local/bin/sriovdp --resource-prefix=test.io --use-cdi");
  await sh("systemctl daemon-reload");
});

beforeEach(async () => {
  await attempt("systemctl stop sriovdp; systemctl reset-failed sriovdp");
  kubelet?.stop();
  kubelet = null;
  rmSync(kubeletRoot, { recursive: true, force: true });
  writeConfig(net, dpdk);
});

afterAll(async () => {
  await attempt("systemctl stop sriovdp; journalctl --no-pager -o short-monotonic >/share/journal.log");
  kubelet?.stop();
});

function writeDropIn(name: string, text: string): void {
  mkdirSync(dropIns, { recursive: true });
  writeFileSync(`${dropIns}/${name}.conf`, `${text}\n`);
}

async function startKubelet(): Promise<KubeletDouble> {
  kubelet = new KubeletDouble(kubeletRoot, "watcher");
  await kubelet.start();
  return kubelet;
}

/** A property of the unit as systemd shows it. */
const property = async (name: string): Promise<string> =>
  (await sh(`systemctl show --value --property=${name} sriovdp`)).trim();

const waitForProperty = (name: string, expected: string, seconds = 30): Promise<true> =>
  waitFor(
    `${name} is "${expected}"`,
    async () => {
      const value = await property(name);
      if (value !== expected) throw new Error(`it is "${value}"`);
      return true;
    },
    seconds,
  );

test("the unit is understood, and rated 2.0 or less", async () => {
  await sh("systemctl --version >/share/systemd-version.txt");
  expect((await attempt("systemd-analyze verify --man=no /etc/systemd/system/sriovdp.service")).stderr).not.toContain(
    "sriovdp",
  );
  const rating = await sh("systemd-analyze security --no-pager sriovdp | tee /share/systemd-security.txt | tail -n 1");
  expect(Number(/: (\d+\.\d+) /.exec(rating)?.[1])).toBeLessThanOrEqual(2);
});

test("a start ends when the node was scanned, and the status says what is served", async () => {
  const double = await startKubelet();
  await sh("systemctl start sriovdp");
  expect(await property("ActiveState")).toBe("active");
  await waitForProperty("StatusText", "2 pools, 3 devices");
  expect(await sh("systemctl status sriovdp | cat")).toContain('Status: "2 pools, 3 devices"');
  await double.waitForAllocatable("test.io/net", 2);
  await double.waitForAllocatable("test.io/dpdk", 1);
  for (const question of ["liveness", "readiness"]) await sh(`/usr/local/bin/sriovdp probe ${question}`);
  expect(await sh("/usr/local/bin/sriovdp status")).toContain("test.io/dpdk");
});

test("inside the sandbox devices keep their nodes, Allocate leaves its files, and links and VFs are followed", async () => {
  const double = await startKubelet();
  await sh("systemctl start sriovdp");
  await double.waitForAllocatable("test.io/dpdk", 1);
  await double.waitForAllocatable("test.io/net", 2);
  const [vfio = ""] = vfs;
  const answer = await double.allocate("test.io/dpdk", 1);
  expect(answer.envs["PCIDEVICE_TEST_IO_DPDK"]).toBe(vfio);
  expect(existsSync(`${deviceInfoFolder}/test.io-dpdk-${vfio}-device.json`)).toBeTrue();
  const specs = readdirSync("/run/cdi").filter((name) => name.startsWith("sriov-dp-"));
  expect(specs.map((name) => readFileSync(`/run/cdi/${name}`, "utf8")).join("")).toContain(
    `/dev/vfio/${iommuGroupOf(vfio)}`,
  );

  await setCarrier("nic0", "off");
  await waitForProperty("StatusText", "2 pools, 3 devices, 3 of them unhealthy");
  expect(unhealthyIn(double, "test.io/net")).toEqual(vfs.slice(2));
  await setCarrier("nic0", "on");
  await waitForProperty("StatusText", "2 pools, 3 devices");
  await bind(vfs[1] ?? "", "vfio-pci");
  await double.waitForAllocatable("test.io/dpdk", 2);
  await bind(vfs[1] ?? "", "igbvf");
  await double.waitForAllocatable("test.io/dpdk", 1);
});

test("the process has no capability, no new privileges, a system call filter, and a file system that it can't write to", async () => {
  await startKubelet();
  await sh("systemctl start sriovdp");
  const pid = await property("MainPID");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1];
  for (const set of ["CapEff", "CapPrm", "CapBnd", "CapAmb"]) expect(Number.parseInt(field(set) ?? "1", 16)).toBe(0);
  expect([field("NoNewPrivs"), field("Seccomp")]).toEqual(["1", "2"]);
  const write = (path: string) => attempt(`: >/proc/${pid}/root${path}`);
  // Not /run and /sys: in this guest systemd 257 leaves them writable as soon as ProtectKernelTunables is set, alone in a unit, too.
  for (const path of ["/etc/x", "/usr/x", "/var/lib/x", "/share/x"])
    expect([path, (await write(path)).stderr]).toEqual([path, expect.stringContaining("Read-only")]);
  for (const path of ["/run/cdi/x", "/run/k8s.cni.cncf.io/x", `${kubeletRoot}/x`]) {
    expect([path, (await write(path)).status]).toEqual([path, 0]);
    rmSync(path);
  }
  expect((await sh("stat -c '%a %U' /run/sriovdp")).trim()).toBe("700 root");
});

test("a reload takes the config up, and a refused config shows in the status", async () => {
  await startKubelet();
  await sh("systemctl start sriovdp");
  await waitForProperty("StatusText", "2 pools, 3 devices");
  writeConfig(net);
  await sh("systemctl reload sriovdp");
  await waitForProperty("StatusText", "1 pool, 2 devices");
  await waitForProperty("ActiveState", "active");
  writeConfig({ ...net, resourceName: "not a name" });
  await sh("systemctl reload sriovdp");
  await waitForProperty("StatusText", "1 pool, 2 devices; config rejected; the previous config stays active");
  await waitForProperty("ActiveState", "active");
});

test("with Type=notify-reload systemd itself requests the reload, and waits for its end", async () => {
  await startKubelet();
  writeDropIn("20-reload", "[Service]\nType=notify-reload\nExecReload=");
  await sh("systemctl daemon-reload");
  try {
    await sh("systemctl start sriovdp");
    writeConfig(net);
    await sh("systemctl reload sriovdp");
    expect(await property("StatusText")).toBe("1 pool, 2 devices");
    expect(await property("ActiveState")).toBe("active");
  } finally {
    rmSync(`${dropIns}/20-reload.conf`);
    await sh("systemctl daemon-reload");
  }
});

test("a plugin that hangs is killed by the watchdog and started again, and the kubelet has its devices again", async () => {
  const double = await startKubelet();
  writeDropIn("20-watchdog", "[Service]\nWatchdogSec=8s");
  await sh("systemctl daemon-reload");
  try {
    await sh("systemctl start sriovdp");
    await double.waitForAllocatable("test.io/net", 2);
    const pid = await property("MainPID");
    const restarts = Number(await property("NRestarts"));
    // Longer than the watchdog's time: signs of life keep it running.
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, 10_000);
    await promise;
    expect(await property("MainPID")).toBe(pid);
    await sh(`kill -STOP ${pid}`);
    await waitFor("the watchdog has ended it", async () => Number(await property("NRestarts")) === restarts + 1, 60);
    await waitForProperty("StatusText", "2 pools, 3 devices");
    expect(await property("MainPID")).not.toBe(pid);
    await double.waitForAllocatable("test.io/net", 2);
    expect(await sh("journalctl --no-pager -u sriovdp")).toContain("Watchdog timeout");
  } finally {
    rmSync(`${dropIns}/20-watchdog.conf`);
    await sh("systemctl daemon-reload");
  }
});

test("a stop is quick and leaves no socket and no runtime folder", async () => {
  await startKubelet();
  await sh("systemctl start sriovdp");
  const started = performance.now();
  await sh("systemctl stop sriovdp");
  // In the slow virtual machine; a stop that hangs takes the 15 s of TimeoutStopSec.
  expect(performance.now() - started).toBeLessThan(10_000);
  expect([await property("ActiveState"), await property("Result"), await property("ExecMainStatus")]).toEqual([
    "inactive",
    "success",
    "0",
  ]);
  expect(readdirSync(registry).filter((name) => name.startsWith("test.io"))).toEqual([]);
  expect(existsSync("/run/sriovdp")).toBeFalse();
});

test("a node whose kubelet has never run: the start is over at once, and the plugin is there when the kubelet comes", async () => {
  await sh("systemctl start sriovdp");
  expect(await property("StatusText")).toBe("waiting for the kubelet");
  const double = await startKubelet();
  await double.waitForAllocatable("test.io/net", 2);
});

test("a config that is refused at start fails the unit, and it is not tried over and over", async () => {
  await startKubelet();
  writeConfig({ resourceName: "net" });
  expect((await attempt("systemctl start sriovdp")).status).not.toBe(0);
  await waitForProperty("ActiveState", "failed");
  expect([await property("Result"), await property("ExecMainStatus")]).toEqual(["exit-code", "2"]);
  expect(await sh("journalctl --no-pager -u sriovdp")).toContain("resourceList[0].selectors");
});

test("the bundle's installer starts the service, restarts it at an upgrade, and stops and removes it", async () => {
  await sh("rm -rf /etc/systemd/system/sriovdp.service /usr/local/bin/sriovdp /tmp/bundle && systemctl daemon-reload");
  const double = await startKubelet();
  const makeBundle = (version: string) =>
    sh(`mkdir -p /tmp/bundle/bin /tmp/bundle/systemd /tmp/bundle/config /tmp/bundle/share/doc/sriovdp /tmp/bundle/image
      cd /tmp/bundle
      cp /payload/bundle/install.sh . && cp /payload/bundle/config.json config/
      cp ${executable} bin/ && cp /payload/deployments/sriovdp.service systemd/
      echo ${version} >share/doc/sriovdp/LICENSE
      echo "${version} amd64" >VERSION
      rm -f SHA256SUMS && find . -type f ! -name SHA256SUMS -exec sha256sum {} + >/tmp/sums && mv /tmp/sums SHA256SUMS`);
  await makeBundle("1.0.0");
  expect(await sh("sh /tmp/bundle/install.sh --start install")).toContain(
    "keeping the config file /etc/pcidp/config.json",
  );
  await double.waitForAllocatable("test.io/net", 2);
  expect(await sh("systemctl is-enabled sriovdp")).toBe("enabled\n");
  const pid = await property("MainPID");

  await makeBundle("1.0.1");
  expect(await sh("sh /tmp/bundle/install.sh upgrade")).toContain("upgrading from 1.0.0 to 1.0.1");
  await waitForProperty("ActiveState", "active");
  expect(await property("MainPID")).not.toBe(pid);
  await double.waitForAllocatable("test.io/net", 2);
  expect(readFileSync("/usr/local/share/doc/sriovdp/LICENSE", "utf8")).toBe("1.0.1\n");

  await sh("sh /tmp/bundle/install.sh uninstall");
  expect(existsSync("/usr/local/bin/sriovdp")).toBeFalse();
  expect(readdirSync(registry).filter((name) => name.startsWith("test.io"))).toEqual([]);
  expect((await attempt("systemctl is-active sriovdp")).stdout).toBe("inactive\n");
});
