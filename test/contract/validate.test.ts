import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { executable, host, removeTemporaryFolder, runCommand, temporaryFolder } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const folder = temporaryFolder();
unpack(host("mixed"), folder);
afterAll(() => removeTemporaryFolder(folder));

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

  test("shows how many devices each pool has here", () => {
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

  test("reports templates, and manifests without a config", () => {
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
    ["that is not a captured node", "x = 1\n", "this is no captured node"],
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
