// Has a report what a bug report needs, and nothing private?

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { host, removeTemporaryFolder, runCommand, temporaryFolder } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";
import { running } from "./live.ts";

setDefaultTimeout(60_000);

const net = "intel.com/net";
const config = { resourceList: [{ resourceName: "net", selectors: {}, additionalInfo: { "*": { token: "s3cret" } } }] };
const allFiles = ["status.json", "metrics.txt", "log.txt", "config.json", "node.host", "versions.txt", "files.txt"];

/** The texts of an archive's files. */
async function unpacked(path: string): Promise<ReadonlyMap<string, string>> {
  const files = await new Bun.Archive(readFileSync(path)).files();
  return new Map(
    await Promise.all(
      [...files].map(async ([name, file]) => [name.replace("sriovdp-report/", ""), await file.text()] as const),
    ),
  );
}

describe.concurrent("a report", () => {
  test("holds capture, config, status, metrics, log, versions and files, without secrets and names of pods", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    await node.kubelet.allocate(net, ["0000:3b:01.1"], { pod: "payroll" });
    const file = `${node.root}/report.tar.gz`;
    const { stdout, stderr, status } = await node.command("report", file);
    expect({ stdout, status }).toEqual({ stdout: "", status: 0 });
    expect(stderr).toMatch(/^wrote \S+: 7 files, \d+ KiB; "sriovdp report --check" prints what is in it\n$/);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const files = await unpacked(file);
    expect([...files.keys()].toSorted()).toEqual(allFiles.toSorted());
    for (const text of files.values()) {
      expect(text).not.toContain("s3cret");
      expect(text).not.toContain("payroll");
    }
    expect(files.get("status.json")).toContain('"pod": "namespace-1/pod-1"');
    expect(files.get("config.json")).toContain('"token": "REDACTED"');
    expect(files.get("metrics.txt")).toMatch(/^sriovdp_devices_allocated\{resource="intel.com\/net"\} 1$/m);
    expect(files.get("log.txt")).toMatch(/ INFO {2}ready /);
    expect(files.get("node.host")).toContain("sys/bus/pci/devices/0000:3b:01.1");
    expect(files.get("versions.txt")).toMatch(/^sriovdp: .*^kernel: /ms);
    expect(files.get("files.txt")).toMatch(/device-plugins\/\n(?: {2}.*\n)* {2}socket 0\d+ .* kubelet.sock/);
  });

  test("is shown by --check, all of it, and nothing is written", async () => {
    await using node = await running({ node: "iavf-vfs", config, resources: [net] });
    const { stdout, status } = await node.command("report", "--check", `${node.root}/none.tar.gz`);
    expect(stdout).toStartWith("FILE ");
    for (const name of allFiles) expect(stdout).toContain(`\n==> ${name} <==\n`);
    expect(stdout).toContain('"token": "REDACTED"');
    expect(stdout).not.toContain("s3cret");
    expect(existsSync(`${node.root}/none.tar.gz`)).toBe(false);
    expect(status).toBe(0);
  });

  test("is made where no plugin runs and the config is broken, and says what is missing", async () => {
    const root = temporaryFolder();
    try {
      unpack(host("iavf-vfs"), root);
      const file = `${root}/report.tar.gz`;
      const { stderr, status } = runCommand(["report", "--root", root, file]);
      expect(stderr).toContain("wrote ");
      for (const name of ["status.json", "metrics.txt", "log.txt", "config.json"])
        expect(stderr).toContain(`note: without ${name}: `);
      expect([...(await unpacked(file)).keys()].toSorted()).toEqual(["files.txt", "node.host", "versions.txt"]);
      expect(status).toBe(0);
      // What is there is not replaced.
      expect(runCommand(["report", "--root", root, file])).toMatchObject({ status: 1, stdout: "" });
      const { stdout } = Bun.spawnSync([
        "sh",
        "-c",
        `"$0" report --root ${root} - | tar -tz`,
        process.env["SRIOVDP"] ?? `${import.meta.dir}/../../dist/sriovdp`,
      ]);
      expect(stdout.toString().trim().split("\n")).toHaveLength(3);
    } finally {
      removeTemporaryFolder(root);
    }
  });
});
