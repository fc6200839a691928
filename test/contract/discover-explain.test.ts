import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { parse } from "yaml";
import { buildNode } from "../support/node.ts";
import { executable, host, removeTemporaryFolder, runCommand, temporaryFolder, TestNode } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const config = {
  resourceList: [
    { resourceName: "kernel", selectors: { drivers: ["iavf"], pfNames: ["ens1f0", "ens3f0"] } },
    { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"], pfNames: ["ens1f0#4-7"], needVhostNet: true } },
    { resourceName: "late", selectors: { pfNames: ["ens1f0"] } },
    { resourceName: "odd", selectors: { vendors: "8086" } },
    { resourceName: "sf", resourcePrefix: "nvidia.com", deviceType: "auxNetDevice", selectors: { auxTypes: ["sf"] } },
  ],
};

const folder = temporaryFolder();
unpack(host("mixed"), folder);
const configFile = `${folder}/pools.json`;
writeFileSync(configFile, JSON.stringify(config));
afterAll(() => removeTemporaryFolder(folder));
const run = (...args: string[]) => runCommand([...args, "--root", folder, "--config-file", configFile]);
const json = (...args: string[]) => JSON.parse(run(...args, "-o", "json").stdout);

describe("discover", () => {
  test("shows PFs with what is below them, their pools, and why a function is in none", () => {
    const { stdout, status } = run("discover");
    const lines = stdout.split("\n").map((line) => line.replaceAll(/ {2,}/g, "  "));
    expect(lines).toContain(
      "  0000:3b:01.0-01.3  VF 0-3  ens1f0v0-3  8086:1889  iavf  admin down  0  pci0000:00  3-6  -  intel.com/kernel",
    );
    expect(stdout).toMatch(/^0000:19:00.0 .* excluded: carries the default route \(eno1\)$/m);
    expect(stdout).toMatch(/^0000:3b:00.0 .* excluded: PF with 8 VFs$/m);
    expect(stdout).toMatch(/^ {2}0000:5e:01.0-01.1 .* Unhealthy: the link of its PF ens3f0 is down$/m);
    expect(stdout).not.toContain("\x1b");
    expect(status).toBe(0);
  });

  test("shows every device with --all", () => {
    const { stdout } = run("discover", "--all");
    expect(stdout.trimEnd().split("\n")).toHaveLength(1 + json("discover").length);
  });

  test("prints the same as JSON and as YAML", () => {
    expect(parse(run("discover", "-o", "yaml").stdout)).toEqual(json("discover"));
    expect(json("discover")).toContainEqual(
      expect.objectContaining({
        id: "0000:5e:01.0",
        kind: "VF",
        iommuGroup: "18",
        pool: "intel.com/kernel",
        health: "Unhealthy",
        unhealthyReason: "the link of its PF ens3f0 is down",
        excluded: [],
        allocation: null,
        withheld: false,
      }),
    );
  });

  test("works without a config file, and says that there is none", () => {
    const { stdout, stderr, status } = runCommand(["discover", "--root", folder]);
    expect(stdout).toContain("0000:3b:01.0");
    expect(stderr).toBe(
      `note: there is no ${folder}/etc/pcidp/config.json, so no device is in a pool; name one by --config-file\n`,
    );
    expect(status).toBe(0);
  });

  test("prints the devices also with a config file that is rejected, and fails", () => {
    const args = ["discover", "--root", folder, "--config-file", `${folder}/nowhere.json`];
    const { stdout, stderr, status } = runCommand(args);
    expect(stdout).toContain("0000:3b:01.0");
    expect(stderr).toContain("nowhere.json: error: no such file; set --config-file");
    expect(status).toBe(2);
  });

  test("prints all of a large node into a slow pipe", async () => {
    const entries = buildNode({ pfs: [{ nic: "e810", name: "ens1f0", vfs: [{ count: 256 }] }] });
    await using node = new TestNode({ entries, config: { resourceList: [] }, inMemory: true });
    const { stdout } = Bun.spawn([
      "sh",
      "-c",
      `"$0" discover --json --root ${node.root} | (sleep 0.3; cat)`,
      executable,
    ]);
    expect(JSON.parse(await new Response(stdout).text())).toHaveLength(257);
  });

  test.each([
    ["the disk is full", `"$0" discover --json --root ${folder} >/dev/full 2>/dev/null; echo $?`],
    ["the reader is gone", `exec 3> >(exit); wait $!; "$0" discover --json --root ${folder} 2>&1 >&3; echo $?`],
  ])("ends with status 1 when %s", (_, script) => {
    const { stdout } = Bun.spawnSync(["bash", "-c", script, executable]);
    expect(stdout.toString()).toEndWith("1\n");
    expect(stdout.toString()).not.toContain("EPIPE");
  });
});

describe("explain", () => {
  test("names each test that failed with expected and found values, and the pool that claimed the device", () => {
    const { stdout, status } = run("explain", "0000:3b:01.4");
    expect(stdout).toBe(`0000:3b:01.4 is VF 4 of ens1f0, driver vfio-pci; it is in intel.com/dpdk, Healthy

  intel.com/kernel does not select it
    selectors[0]  drivers  fails   expected iavf, found vfio-pci
                  pfNames  passes  expected ens1f0, ens3f0, found ens1f0#4

  intel.com/dpdk selects it by selectors[0]
    selectors[0]  drivers  passes  expected vfio-pci, found vfio-pci
                  pfNames  passes  expected ens1f0#4-7, found ens1f0#4

  intel.com/late selects it too; intel.com/dpdk claimed it already, listed earlier
    selectors[0]  pfNames  passes  expected ens1f0, found ens1f0#4

  nvidia.com/sf does not select it: it is not of type auxNetDevice
`);
    expect(status).toBe(0);
  });

  test("shows a pool's devices, those claimed by earlier pools, and why the others are not in it", () => {
    const { stdout } = run("explain", "intel.com/late", "intel.com/kernel");
    expect(stdout).toContain(`intel.com/late (netDevice) has 0 devices

  also selected, but claimed by pools listed earlier:
    0000:3b:01.0-01.3  VF 0-3 of ens1f0  intel.com/kernel
    0000:3b:01.4-01.7  VF 4-7 of ens1f0  intel.com/dpdk

  excluded:
    0000:19:00.0  PF eno1       the host's default route leaves through it (eno1)
    0000:3b:00.0  PF ens1f0     it is a PF with 8 VFs
`);
    expect(stdout).toContain(`
  not selected:
    0000:5e:01.0-01.1  VF 0-1 of ens3f0
    0000:af:01.0-01.3  VF 0-3 of ens2f0np0
    0000:d8:00.0       PF p0
      selectors[0]  pfNames  fails  expected ens1f0, found ens3f0#0-1, ens2f0np0#0-3, none

  3 devices of this node are of another type
`);
    expect(stdout).toContain("0000:5e:01.0-01.1  VF 0-1 of ens3f0  driver iavf  by selectors[0]  Unhealthy: ");
  });

  test.each([
    ["an interface of a VF", "ens1f0v1", "0000:3b:01.1"],
    ["an interface of a PF", "ens1f0", "0000:3b:00.0"],
    ["an RDMA device", "mlx5_2", "0000:af:01.1"],
    ["an address without its domain", "3b:01.1", "0000:3b:01.1"],
    ["an auxiliary device", "mlx5_core.sf.2", "mlx5_core.sf.2"],
  ])("finds a device by %s", (_, word, id) => {
    expect(json("explain", word).devices.map((each: { id: string }) => each.id)).toEqual([id]);
  });

  test("finds a resource by its full name, and by the name in the file", () => {
    const resources = (word: string) =>
      json("explain", word).resources.map((each: { resource: string }) => each.resource);
    expect(resources("nvidia.com/sf")).toEqual(["nvidia.com/sf"]);
    expect(resources("sf")).toEqual(["nvidia.com/sf"]);
  });

  test("shows all pools without arguments", () => {
    const { source, devices, resources } = json("explain");
    expect({ source, devices }).toEqual({ source: "scan", devices: [] });
    expect(resources.map((each: { resource: string }) => each.resource)).toEqual([
      ...["intel.com/kernel", "intel.com/dpdk", "intel.com/late", "nvidia.com/sf"],
    ]);
  });

  test.each([
    ["ens1f0v9", 'nothing is named "ens1f0v9"; did you mean ens1f0v0?'],
    ["kernl", 'nothing is named "kernl"; did you mean kernel?'],
    ["frobnicate", 'is named "frobnicate"; "sriovdp discover" lists the devices'],
    ["intel.com/odd", "the entry of intel.com/odd is skipped"],
  ])("reports an unknown %s, and goes on with the others", (word, message) => {
    const { stdout, stderr, status } = run("explain", word, "0000:3b:01.4");
    expect(stderr).toContain(message);
    expect(stdout).toStartWith("0000:3b:01.4 is");
    expect(status).toBe(1);
  });

  test("ends with status 2 when the config is rejected", () => {
    const { stdout, status } = runCommand(["explain", "--root", folder, "--config-file", "/none"]);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});
