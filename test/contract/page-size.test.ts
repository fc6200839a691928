// Who learns that the executable can't run on arm64 kernels with 64 KiB pages? Bun aborts there before any of our code runs,
// so that only what starts it can say so: systemd's unit, the scheduler, the installer.

import { describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import manifest from "../../package.json" with { type: "json" };
import { abortsOn64KiBPages } from "../../scripts/build/architectures.ts";
import { removeTemporaryFolder, temporaryFolder } from "../support/plugin.ts";

const root = `${import.meta.dir}/../..`;
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");

test("a new Bun is tried on 64 KiB pages before it is taken: see scripts/build/architectures.ts", () => {
  expect(abortsOn64KiBPages).toBe(manifest.devDependencies.bun);
});

/** Runs a script on a machine whose `getconf PAGESIZE` prints this; null for one without getconf. */
function runWith(pages: number | null, command: readonly string[]) {
  const folder = temporaryFolder();
  try {
    const content = pages === null ? "exit 127" : `echo ${pages}`;
    writeFileSync(`${folder}/getconf`, `#!/bin/sh\n${content}\n`);
    chmodSync(`${folder}/getconf`, 0o755);
    const { exitCode, stderr } = Bun.spawnSync([...command], { env: { PATH: `${folder}:/usr/bin:/bin` } });
    return { exitCode, said: stderr.toString() };
  } finally {
    removeTemporaryFolder(folder);
  }
}

describe("the unit's condition", () => {
  const [, script = ""] = /^ExecCondition=\/bin\/sh -c '(.*)'$/m.exec(read("deployments/sriovdp.service")) ?? [];
  const condition = (pages: number | null) => runWith(pages, ["/bin/sh", "-c", script.replaceAll("$$", "$")]);

  test.each([4096, 16_384, null])("lets it start with pages of %p bytes", (pages) => {
    expect(script).not.toBe("");
    expect(condition(pages)).toEqual({ exitCode: 0, said: "" });
  });

  test("skips it with pages of 64 KiB, and says why", () => {
    // 1 to 254: the unit is skipped, and not started again and again (systemd.service(5)).
    expect(condition(65_536)).toEqual({
      exitCode: 1,
      said: "this kernel has pages of 65536 bytes; sriovdp runs on kernels with 4 or 16 KiB pages\n",
    });
  });
});

test("the installer refuses such a kernel, but not for another system's folder", () => {
  const install = (...args: string[]) =>
    runWith(65_536, ["sh", "-c", 'cd "$1" && shift && exec sh ./install.sh "$@"', "sh", bundle, ...args]);
  const bundle = temporaryFolder();
  try {
    writeFileSync(`${bundle}/install.sh`, read("scripts/release/bundle/install.sh"));
    writeFileSync(`${bundle}/VERSION`, "0.1.0 arm64\n");
    expect(install("install", "--dry-run").said).toContain("this kernel has pages of 65536 bytes");
    expect(install("install", "--dry-run", "--root=/nowhere").said).not.toContain("pages of");
    expect(install("uninstall", "--dry-run").said).not.toContain("pages of");
  } finally {
    removeTemporaryFolder(bundle);
  }
});

test("the DaemonSet stays off the nodes that the rule in the docs labels", () => {
  const documents = parseAllDocuments(read("deployments/base/daemonset.yaml")).map(
    (document) => document.toJS() as unknown,
  );
  const daemonSet = documents.find((document) => (document as { kind?: string }).kind === "DaemonSet");
  expect(daemonSet).toMatchObject({
    spec: {
      template: {
        spec: {
          affinity: {
            nodeAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: {
                nodeSelectorTerms: [
                  {
                    matchExpressions: [
                      { key: "feature.node.kubernetes.io/arm64-64k-pages", operator: "NotIn", values: ["true"] },
                    ],
                  },
                ],
              },
            },
          },
        },
      },
    },
  });
  expect(read("docs/deploy/cluster.md")).toContain('feature.node.kubernetes.io/arm64-64k-pages: "true"');
  expect(read("docs/deploy/cluster.md")).toContain("ARM64_64K_PAGES");
  expect(read("README.md")).toContain("64 KiB pages");
});
