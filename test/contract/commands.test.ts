import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
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
      `note: there is no ${folder}/etc/pcidp/config.json, so no device is in a pool; --config-file names another\n`,
    );
    expect(status).toBe(0);
  });

  test("prints the devices also with a config file that is refused, and fails", () => {
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
    ["nobody reads any more", `exec 3> >(exit); wait $!; "$0" discover --json --root ${folder} 2>&1 >&3; echo $?`],
  ])("ends with status 1 when %s", (_, script) => {
    const { stdout } = Bun.spawnSync(["bash", "-c", script, executable]);
    expect(stdout.toString()).toEndWith("1\n");
    expect(stdout.toString()).not.toContain("EPIPE");
  });
});

describe("explain", () => {
  test("names each test that failed, what it wants and what the device has, and who took it", () => {
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

  test("tells of a pool what it has, what was taken before, and why all else is not in it", () => {
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
  ])("knows a device by %s", (_, word, id) => {
    expect(json("explain", word).devices.map((each: { id: string }) => each.id)).toEqual([id]);
  });

  test("knows a resource by its full name, and by the name in the file", () => {
    const resources = (word: string) =>
      json("explain", word).resources.map((each: { resource: string }) => each.resource);
    expect(resources("nvidia.com/sf")).toEqual(["nvidia.com/sf"]);
    expect(resources("sf")).toEqual(["nvidia.com/sf"]);
  });

  test("tells of all pools when nothing is named", () => {
    const { source, devices, resources } = json("explain");
    expect({ source, devices }).toEqual({ source: "scan", devices: [] });
    expect(resources.map((each: { resource: string }) => each.resource)).toEqual([
      ...["intel.com/kernel", "intel.com/dpdk", "intel.com/late", "nvidia.com/sf"],
    ]);
  });

  test.each([
    ["ens1f0v9", 'nothing is called "ens1f0v9"; did you mean ens1f0v0?'],
    ["kernl", 'nothing is called "kernl"; did you mean kernel?'],
    ["frobnicate", 'is called "frobnicate"; "sriovdp discover" lists what there is'],
    ["intel.com/odd", "the entry of intel.com/odd is skipped"],
  ])("says so when it knows no %s, and goes on with the others", (word, message) => {
    const { stdout, stderr, status } = run("explain", word, "0000:3b:01.4");
    expect(stderr).toContain(message);
    expect(stdout).toStartWith("0000:3b:01.4 is");
    expect(status).toBe(1);
  });

  test("ends with status 2 when the config is refused", () => {
    const { stdout, status } = runCommand(["explain", "--root", folder, "--config-file", "/none"]);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});

describe("validate", () => {
  const files = {
    good: '{"resourceList": [{"resourceName": "a", "selectors": {"drivers": ["vfio-pci"]}}]}',
    doubtful: `{"$schema": "config.schema.json", "resourceList": [
  {"resourceName": "a", "selectors": {"pfNames": ["ens1f0#0-15", "ens9"]}},
  {"resourceName": "b", "selectors": {"drivers": ["iavf"], "pfNames": ["ens1f0#2-3"]}}
]}`,
    bad: '{"resourceList": [{"resourceName": "a", "selectors": {"vendor": ["8086"]}}]}',
    skipping: '{"resourceList": [{"resourceName": "a", "selectors": []}]}',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(`${folder}/${name}`, text);
  const validate = (...args: string[]) => runCommand(["validate", "--root", folder, ...args]);

  test("tells how many devices each pool has here", () => {
    const { stdout, stderr, status } = validate(`${folder}/good`);
    expect(stdout).toBe(`${folder}/good is valid: 1 pool
POOL         TYPE       DEVICES HERE
intel.com/a  netDevice  4
`);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  });

  test("warns by line, column and path of what selects nothing here", () => {
    const { stdout, stderr, status } = validate(`${folder}/doubtful`);
    const file = `${folder}/doubtful`;
    expect(stderr.trimEnd().split("\n")).toEqual([
      `${file}:2:51: warning: resourceList[0].selectors.pfNames[0]: ens1f0 has the VFs 0-7 on this node; #8-15 selects nothing`,
      `${file}:2:66: warning: resourceList[0].selectors.pfNames[1]: this node has no PF "ens9"; those with VFs are ens1f0, ens3f0, ens2f0np0`,
      `${file}:3:38: warning: resourceList[1].selectors: gets nothing: selectors[0] of intel.com/a, listed earlier, selects all that it selects`,
    ]);
    expect(stdout).toStartWith(`${file} is valid: 2 pools, 3 warnings\n`);
    expect(status).toBe(0);
  });

  test("checks the file alone with --no-node", () => {
    const { stdout, stderr } = validate("--no-node", `${folder}/doubtful`);
    expect(stderr.trimEnd().split("\n")).toEqual([
      expect.stringContaining("gets nothing: selectors[0] of intel.com/a, listed earlier"),
    ]);
    expect(stdout).not.toContain("DEVICES HERE");
  });

  test("checks the file alone, and says so, where there is nothing that a pool could have", () => {
    const empty = temporaryFolder();
    const { stderr, status } = runCommand(["validate", "--strict", "--root", empty, `${folder}/good`]);
    removeTemporaryFolder(empty);
    expect(stderr).toStartWith("note: this machine has no network function or accelerator");
    expect(status).toBe(0);
  });

  test.each([
    ["good", [], 0],
    ["good", ["--strict"], 0],
    ["doubtful", [], 0],
    ["doubtful", ["--strict"], 1],
    ["bad", [], 2],
    ["bad", ["--strict"], 2],
    ["skipping", [], 2],
    ["missing", [], 2],
  ])("ends for a %s file with %j with status %i", (name, options, status) => {
    expect(validate(`${folder}/${name}`, ...options).status).toBe(status);
    expect(validate(`${folder}/${name}`, "--json", ...options).status).toBe(status);
  });

  test("reads standard input for -, and --config-file without an operand", () => {
    const { exitCode, stdout, stderr } = Bun.spawnSync([executable, "validate", "--no-node", "-"], {
      stdin: Buffer.from(files.bad),
    });
    expect(exitCode).toBe(2);
    expect(stderr.toString()).toStartWith(
      "standard input:1:55: error: resourceList[0].selectors.vendor: unknown selector",
    );
    expect(stdout.toString()).toBe("");
    const huge = Bun.spawnSync([executable, "validate", "-"], { stdin: Buffer.alloc(3 << 20, " ") });
    expect(huge.stderr.toString()).toContain("too large");
    expect(validate("--config-file", `${folder}/good`).stdout).toStartWith(`${folder}/good is valid`);
  });

  test("checks several files in one run, and all of each", () => {
    writeFileSync(
      `${folder}/mixed`,
      `{"resourceList": [
  {"resourceName": "a", "selectors": {"vendor": ["8086"]}},
  {"resourceName": "b", "selectors": {"pfNames": ["ens9"]}},
  {"resourceName": "c", "selectors": {"drivers": ["vfio-pci"], "isRdma": true}}
]}`,
    );
    const { stdout, stderr, status } = validate(`${folder}/mixed`, `${folder}/good`, `${folder}/missing`);
    // Neither the error nor the file that is not there keeps the rest from being checked on this node.
    const file = `${folder}/mixed`;
    expect(stderr.trimEnd().split("\n")).toEqual([
      `${file}:2:39: error: resourceList[0].selectors.vendor: unknown selector; did you mean "vendors"?`,
      expect.stringContaining(`${file}:3:3: warning: resourceList[1]: selects nothing on this node`),
      expect.stringContaining(
        `${file}:3:51: warning: resourceList[1].selectors.pfNames[0]: this node has no PF "ens9"`,
      ),
      expect.stringContaining(
        "resourceList[2].selectors: drivers and isRdma can never match together: a function bound to",
      ),
      `${folder}/missing: error: no such file`,
    ]);
    expect(stdout).toStartWith(`${folder}/good is valid`);
    expect(status).toBe(2);
  });

  test("prints all that it found as JSON", () => {
    const { stdout, stderr } = validate(`${folder}/bad`, "--json");
    expect(JSON.parse(stdout)).toEqual({
      valid: false,
      node: "this node",
      configs: [
        {
          file: `${folder}/bad`,
          configMap: null,
          key: null,
          valid: false,
          pools: [],
          problems: [
            {
              severity: "error",
              path: "resourceList[0].selectors.vendor",
              message: 'unknown selector; did you mean "vendors"?',
              line: 1,
              column: 55,
            },
          ],
        },
      ],
    });
    expect(stderr).toBe("");
  });
});

describe("validate of manifests", () => {
  const manifest = `apiVersion: v1
kind: Namespace
metadata:
  name: kube-system
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: sriovdp-config
  namespace: kube-system
data:
  config.json: |
    {
      "resourceList": [
        {"resourceName": "a", "selectors": {"vendor": ["8086"]}}
      ]
    }
  worker-2: '{"resourceList": [{"resourceName": "b", "selectors": {"drivers": ["iavf"]}}]}'
  worker-3: |
    {"resourceLst": []}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-root-ca.crt}
data: {ca.crt: "-----BEGIN CERTIFICATE-----"}
`;
  writeFileSync(`${folder}/all.yaml`, manifest);
  const validate = (...args: string[]) => runCommand(["validate", "--root", folder, ...args]);

  test("finds the config of every key of every ConfigMap, each problem at its line of the manifest", () => {
    const file = `${folder}/all.yaml`;
    const { stdout, stderr, status } = validate(file);
    expect(stderr.trimEnd().split("\n")).toEqual([
      `note: ${file}: ConfigMaps without a config are left out: kube-root-ca.crt`,
      `${file}:15:45: error: kube-system/sriovdp-config["config.json"]: resourceList[0].selectors.vendor: unknown selector; did you mean "vendors"?`,
      expect.stringContaining(`${file}:20:`),
      expect.stringContaining(`${file}:20:`),
    ]);
    expect(stderr).toContain('kube-system/sriovdp-config["worker-3"]: resourceLst: unknown key, ignored');
    expect(stdout).toBe(`kube-system/sriovdp-config["worker-2"] of ${file} is valid: 1 pool
POOL         TYPE       DEVICES HERE
intel.com/b  netDevice  6
`);
    expect(status).toBe(2);
  });

  test("checks one key alone with --key", () => {
    expect(validate("--key", "worker-2", `${folder}/all.yaml`)).toMatchObject({ status: 0 });
    const none = validate("--key", "worker-9", `${folder}/all.yaml`);
    expect(none.stderr).toContain('error: no ConfigMap of this manifest has the key "worker-9"');
    expect(none.status).toBe(2);
  });

  test("reads lists, and what kubectl prints as JSON", () => {
    const data = { "config.json": JSON.stringify({ resourceList: [{ resourceName: "a", selectors: [] }] }) };
    const list = {
      apiVersion: "v1",
      kind: "List",
      items: [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data }],
    };
    writeFileSync(`${folder}/list.json`, JSON.stringify(list, null, 2));
    const { stderr, status } = validate(`${folder}/list.json`);
    expect(stderr).toMatch(
      /list.json:12:\d+: error: entry skipped: x\["config.json"\]: resourceList\[0\].selectors: empty.* \(line 1, column \d+ of the value\)/,
    );
    expect(status).toBe(2);
  });

  test("says of a template that it is none, and of a manifest without a config", () => {
    writeFileSync(
      `${folder}/template.yaml`,
      "apiVersion: v1\nkind: ConfigMap\ndata:\n  {{- toYaml .Values.x | nindent 2 }}\n",
    );
    expect(validate(`${folder}/template.yaml`).stderr).toContain("render the template first (helm template)");
    writeFileSync(`${folder}/none.yaml`, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n");
    const none = validate(`${folder}/none.yaml`);
    expect(none.stderr).toContain("no ConfigMap of this manifest has a config");
    expect(none.status).toBe(2);
  });

  test("checks the manifests that are shipped", () => {
    const shipped = `${import.meta.dir}/../../deployments`;
    for (const file of ["components/sample-config/configmap.yaml", "examples/config.yaml", "examples/node-config.yaml"])
      expect({ file, ...validate("--no-node", `${shipped}/${file}`) }).toMatchObject({ file, status: 0 });
  });
});

describe("validate --node", () => {
  const captured = `${import.meta.dir}/../hosts/iavf-vfs.host`;
  const pools = `${folder}/for-node.json`;
  writeFileSync(pools, '{"resourceList": [{"resourceName": "a", "selectors": {"pfNames": ["ens1f0#0-9"]}}]}');

  test("checks against a captured node, wherever it runs", () => {
    const { stdout, stderr, status } = runCommand(["validate", "--strict", "--node", captured, pools]);
    expect(stderr).toContain("resourceList[0].selectors.pfNames[0]: ens1f0 has the VFs 0-");
    expect(stdout).toContain("DEVICES\nintel.com/a  netDevice  4\n");
    expect(status).toBe(1);
  });

  test("checks against what capture prints", () => {
    const file = `${folder}/here.host`;
    writeFileSync(file, runCommand(["capture", "--root", folder]).stdout);
    expect(runCommand(["validate", "--node", file, pools]).stdout).toContain("intel.com/a  netDevice  8\n");
  });

  test.each([
    ["that is not there", null, "ENOENT"],
    ["that is no captured node", "x = 1\n", "this is no captured node"],
    ["that can't be read", "??? ???\n", "line 1 is no entry"],
    ["that leads out of its folder", "netlink.json = {}\n../../outside = 1\n", "is not a path below the root"],
    ["that writes through a link", `netlink.json = {}\na -> ${folder}\na/b = 1\n`, "a is a link"],
  ])("refuses a file %s", (_, text, message) => {
    const file = `${folder}/odd.host`;
    if (text === null) rmSync(file, { force: true });
    else writeFileSync(file, text);
    const { stderr, status } = runCommand(["validate", "--node", file, pools]);
    expect(stderr).toContain(message);
    expect(status).toBe(2);
    expect(existsSync(`${folder}/b`)).toBe(false);
  });
});
