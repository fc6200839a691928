import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { buildNode } from "../support/node.ts";
import { accelerator } from "../support/node-plan.ts";
import { host, removeTemporaryFolder, runCommand, temporaryFolder, TestNode } from "../support/plugin.ts";
import { until } from "../support/until.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const documented = await Bun.file(`${import.meta.dir}/config/documented.json`).text();

/** A node that has something for most of the documented pools. */
const documentedNode = buildNode({
  pfs: [
    { nic: "x710", name: "enp2s0f0", vfs: [{ count: 3 }] },
    { nic: "x710", name: "enp0s0f0", vfs: [{ count: 2, driver: "vfio-pci" }] },
    { nic: "connectx5", name: "ibs1f0", linkType: "infiniband", rdma: true, vfs: [{ count: 4, rdma: true }] },
    { nic: "connectx6", name: "ens4f0np0", eswitch: "switchdev", vfs: [{ count: 1, vdpa: "vhost" }] },
    { nic: "bluefield2", name: "p0", eswitch: "switchdev", sfs: [{ sfnum: 1 }, { sfnum: 5 }, { sfnum: 6 }] },
    { nic: "broadcom", name: "ens5f0" },
  ],
  functions: [accelerator("0000:0d:00.0")],
});

test("the documented example of a config runs word for word", async () => {
  await using node = new TestNode({ entries: documentedNode, config: documented });
  const expected = {
    "broadcom.com/brcm_sriov_bnxt": 1,
    "intel.com/ct6dx_vdpa_vhost": 1,
    "intel.com/infiniband_rdma_netdevs": 4,
    "intel.com/intel_fpga": 1,
    "intel.com/intel_sriov_dpdk": 2,
    "intel.com/intel_sriov_netdevice": 3,
    "nvidia.com/bf2_sf": 2,
  };
  await node.start(Object.keys(expected));
  expect(node.kubelet.allocatable).toEqual(expected);
});

test("the config that the SR-IOV operator writes runs", async () => {
  await using node = new TestNode({
    entries: host("mlx5-rdma-vfs"),
    config: {
      resourceList: [
        {
          resourceName: "roce",
          excludeTopology: true,
          selectors: {
            vendors: ["15b3"],
            pfNames: ["ens4f0np0#0-1"],
            linkTypes: ["ether"],
            IsRdma: true,
            NeedVhostNet: true,
          },
          SelectorObjs: null,
        },
      ],
    },
  });
  await node.start(["openshift.io/roce"], "--resource-prefix=openshift.io");
  expect(node.kubelet.allocatable).toEqual({ "openshift.io/roce": 2 });
});

describe.each([
  ["a null list, as the operator writes for a node without policies", '{"resourceList":null}'],
  ["an empty list", '{"resourceList":[]}'],
])("a config without pools: %s", (_, config) => {
  test("runs, and offers nothing", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    await node.start([]);
    expect(node.pluginSockets()).toEqual([]);
    expect(await node.plugin.stop()).toBe(0);
  });
});

/** One mistake a line, so that lines identify them. */
const mistakes = `{"resourceList": [
  {"resourceName": "a", "selectors": {}},
  {"resourceName": "a", "selectors": {}},
  {"resourceName": "b b", "selectors": {}},
  {"resourceName": "c", "selectors": {"vendor": ["8086"]}},
  {"resourceName": "d", "deviceType": "gpu", "selectors": {}},
  {"resourceName": "e", "selectors": {"isRdma": true, "vdpaType": "vhost"}},
  {"resourceName": "f", "resourcePrefix": "../x", "selectors": {}},
  {"resourceName": "g", "deviceType": "auxNetDevice", "selectors": {}},
  {"resourceName": "h", "selectors": [null]},
  {"resourceName": "i"},
  {"selectors": {}},
  {"resourceName": 7, "selectors": {}}
]}`;

describe("an operator's mistakes", () => {
  const folder = temporaryFolder();
  const path = `${folder}/config.json`;
  writeFileSync(path, mistakes);
  const { status, stderr } = runCommand(["--root", folder, "--config-file", path]);
  removeTemporaryFolder(folder);
  const lines = stderr.split("\n").filter((line) => line.startsWith(path));

  test.each([
    [3, 3, "resourceList[1]", "duplicate resource intel.com/a"],
    [4, 20, "resourceList[2].resourceName", 'only letters, digits, "_" and "-"'],
    [5, 39, "resourceList[3].selectors.vendor", 'did you mean "vendors"?'],
    [6, 39, "resourceList[4].deviceType", '"accelerator"'],
    [7, 38, "resourceList[5].selectors", "isRdma and vdpaType can't be combined"],
    [8, 43, "resourceList[6].resourcePrefix", "DNS name"],
    [9, 68, "resourceList[7].selectors.auxTypes", '["sf"]'],
    [10, 39, "resourceList[8].selectors[0]", "expected an object, found null"],
    [11, 3, "resourceList[9].selectors", "missing; write which devices the pool gets"],
    [12, 3, "resourceList[10].resourceName", "missing"],
    [13, 20, "resourceList[11].resourceName", "expected a string"],
  ])("are reported by line, column and path: line %i", (line, column, where, message) => {
    const found = lines.find((each) => each.startsWith(`${path}:${line}:`)) ?? "";
    expect(found).toStartWith(`${path}:${line}:${column}: error: ${where}: `);
    expect(found).toContain(message);
  });
  test("are reported all at once, and nothing else is", () => expect(lines).toHaveLength(11));
  test("end the plugin with status 2", () => expect(status).toBe(2));
});

describe.each([
  ["is missing", null, "no such file; set --config-file"],
  ["is a folder", "folder", "cannot read the file"],
  ["is empty", "", "not JSON"],
  ["is cut off", '{"resourceList": [', "not JSON"],
  ["is a list", "[]", "expected an object"],
  ["goes on behind its end", '{"resourceList": []} x', "not JSON"],
  ["is huge", " ".repeat(5 << 20), "too large"],
  ["is null, as a template that renders nothing writes it", "null", '{"resourceList"'],
  ["has no resourceList", "{}", '{"resourceList": []}'],
  ["has comments as of a shell", '{"resourceList": [] # none\n}', 'comments begin with "//"'],
  [
    "has only entries that are skipped",
    { resourceList: [{ resourceName: "a", selectors: [] }] },
    "all entries are skipped",
  ],
])("a config file that %s", (_, content, message) => {
  test("ends the plugin with status 2, and is named", () => {
    const folder = temporaryFolder();
    try {
      const path = `${folder}/config.json`;
      if (content === "folder") mkdirSync(path);
      else if (content !== null) writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
      const { status, stderr } = runCommand(["--root", folder, "-config-file", path]);
      expect(stderr).toContain(path);
      expect(stderr).toContain(message);
      expect(status).toBe(2);
    } finally {
      removeTemporaryFolder(folder);
    }
  });
});

test("an entry whose selectors have a wrong type does not keep the others from running", async () => {
  await using node = new TestNode({
    entries: host("iavf-vfs"),
    config: {
      resourceList: [
        { resourceName: "odd", selectors: { vendors: "8086" } },
        { resourceName: "none", selectors: [] },
        { resourceName: "net", selectors: {} },
      ],
    },
  });
  await node.start(["intel.com/net"]);
  expect(node.kubelet.allocatable).toEqual({ "intel.com/net": 4 });
  expect(node.plugin.log).toContain("resourceList[0].selectors.vendors");
  expect(node.plugin.log).toContain("resourceList[1].selectors");
});

test("warnings about the config on this node are logged at the first scan, once each", async () => {
  await using node = new TestNode({
    entries: host("iavf-vfs"),
    config: {
      resourceList: [
        { resourceName: "net", selectors: { pfNames: ["ens1f0#0-7"], sriovMode: true } },
        { resourceName: "late", selectors: { drivers: ["iavf"], pfNames: ["ens1f0#0-3"] } },
        { resourceName: "none", selectors: { drivers: ["vfio-pci"] } },
        { resourceName: "none2", selectors: { drivers: ["vfio-pci"] } },
      ],
    },
  });
  await node.start(["intel.com/net"]);
  const warned = node.plugin.lines.flatMap((line) => / WARN {2}config warning (.*)$/.exec(line)?.[1] ?? []);
  expect(warned).toEqual([
    'resource=intel.com/net selector=selectors[0].pfNames[0] warning="ens1f0 has the VFs 0-3 on this node; #4-7 selects nothing"',
    'resource=intel.com/net selector=selectors[0] warning="selects 4 devices on this node; ignored: sriovMode"',
    'resource=intel.com/late selector=selectors[0] warning="gets nothing: selectors[0] of intel.com/net, listed earlier, selects all that it selects"',
    'resource=intel.com/none warning="selects nothing on this node; \\"sriovdp explain intel.com/none\\" says why"',
    'resource=intel.com/none2 warning="selects nothing on this node; \\"sriovdp explain intel.com/none2\\" says why"',
  ]);
  expect(node.plugin.log).toMatch(/ WARN .*sriovMode: it is of the format before version 3/);
});

test("secrets in additionalInfo are not logged, at no verbosity", async () => {
  await using node = new TestNode({
    entries: host("iavf-vfs"),
    config: {
      resourceList: [{ resourceName: "net", selectors: {}, additionalInfo: { "*": { token: "3e49019f-secret" } } }],
    },
  });
  await node.start(["intel.com/net"], "-v=10");
  await node.kubelet.allocate("intel.com/net", 1);
  await node.plugin.stop();
  expect(node.plugin.log).not.toContain("3e49019f-secret");
});

describe("the command line", () => {
  const config = { resourceList: [{ resourceName: "net", selectors: {} }] };

  test.each([
    ["as Go's flags with one dash", ["-config-file", "CONFIG", "-resource-prefix", "a.io", "-use-cdi", "-v", "5"]],
    ["as Go's flags with one dash and =", ["-config-file=CONFIG", "-resource-prefix=a.io", "-use-cdi=true", "-v=5"]],
    ["with two dashes", ["--config-file", "CONFIG", "--resource-prefix", "a.io", "--use-cdi"]],
    ["as the operator writes it", ["--log-level=10", "--resource-prefix=a.io", "--config-file=CONFIG", "--use-cdi"]],
    [
      "with glog's flags",
      [
        ...["-logtostderr", "-alsologtostderr=true", "-stderrthreshold=INFO", "-vmodule=a=1", "-log_backtrace_at=b:2"],
        ...["-config-file=CONFIG", "-resource-prefix=a.io", "-use-cdi"],
      ],
    ],
    ["with an empty argument in it", ["", "--resource-prefix=a.io", "", "--config-file=CONFIG", "--use-cdi"]],
  ])("is taken %s", async (_, args) => {
    await using node = new TestNode({ entries: host("vfio-pci-vfs"), config: null });
    const path = `${node.root}/with=sign.json`;
    writeFileSync(path, JSON.stringify(config));
    await node.start(["a.io/net"], ...args.map((argument) => argument.replace("CONFIG", path)));
    expect(node.kubelet.allocatable).toEqual({ "a.io/net": 2 });
    expect(node.names(node.cdiFolder)).toEqual(["sriov-dp-a.io-net-pci-net.yaml"]);
  });

  test("can turn CDI off", async () => {
    await using node = new TestNode({ entries: host("vfio-pci-vfs"), config });
    await node.start(["intel.com/net"], "--use-cdi=false");
    expect(node.names(node.cdiFolder)).toEqual([]);
    expect((await node.kubelet.allocate("intel.com/net", 1)).devices).toHaveLength(2);
  });

  test("that is not understood ends the plugin with status 2, and nothing is started", () => {
    const { status, stderr } = runCommand(["--use-cdj", "--log-level=loud"]);
    expect(stderr).toContain("unknown option --use-cdj; did you mean --use-cdi?");
    expect(stderr).toContain("--log-level=loud");
    expect(status).toBe(2);
  });

  test.each(["--help", "-h"])("explains itself: %s", (flag) => {
    const { status, stdout } = runCommand([flag]);
    expect(stdout).toContain("--config-file");
    expect(status).toBe(0);
  });

  test("names a folder for log files", async () => {
    await using node = new TestNode({ entries: host("iavf-vfs"), config });
    const path = `${node.root}/var/log/sriovdp/sriovdp.log`;
    await node.start(["intel.com/net"], `--log-dir=${dirname(path)}`);
    await until("the log file shows that the plugin is ready", () =>
      linesOf(path).some((line) => / ready /.test(line)),
    );
    await node.plugin.stop();
    expect(linesOf(path)).toEqual(node.plugin.lines);
  });
});

const linesOf = (path: string): string[] => (existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : []);
