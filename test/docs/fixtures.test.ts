// Do the commands of the pages print what the pages say, on recorded nodes that the virtual machine can't be?

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { executable, host, removeTemporaryFolder, temporaryFolder, TestNode } from "../support/plugin.ts";
import { runProgram } from "../support/run-program.ts";
import { until } from "../support/until.ts";
import { printsAsSaid } from "./lab.ts";
import { type Block, readPage } from "./pages.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const folder = `${import.meta.dir}/../../docs`;

for (const name of [...new Bun.Glob("**/*.md").scanSync(folder)].toSorted()) {
  const blocks = readPage(readFileSync(`${folder}/${name}`, "utf8")).blocks.filter(({ says }) => says.fixture);
  for (const [fixture = "", some] of Map.groupBy(blocks, ({ says }) => says.fixture))
    describe(`docs/${name} on ${fixture}`, () => tryBlocks(name, fixture, some));
}

function tryBlocks(page: string, fixture: string, blocks: readonly Block[]): void {
  const programs = temporaryFolder();
  let node: TestNode;
  let runs = false;

  beforeAll(() => {
    node = new TestNode({ entries: host(fixture), config: null });
    // What a person types on that node.
    writeFileSync(`${programs}/sriovdp`, `#!/bin/sh\nexec '${executable}' "$@" --root '${node.root}'\n`);
    chmodSync(`${programs}/sriovdp`, 0o755);
  });

  afterAll(async () => {
    await node.close();
    removeTemporaryFolder(programs);
  });

  for (const { line, language, text, prints, says } of blocks) {
    test(`${page}:${line}: ${says.file ?? text.split("\n")[0]}`, async () => {
      if (says.file !== undefined) {
        const path = node.root + says.file;
        mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
        writeFileSync(path, `${text}\n`);
      }
      if (language !== "sh") return;
      let variables: Readonly<Record<string, string>> = {};
      if (!runs && (says.plugin !== undefined || says.pod !== undefined)) {
        await node.start([]);
        await until("the plugin is ready", async () => (await node.command("probe", "readiness")).status === 0);
        runs = true;
      }
      if (says.pod !== undefined) {
        const [resource = "", count = "1"] = says.pod.split("=");
        await node.kubelet.waitFor(
          (seen) => seen.resource(resource).allocatable >= Number(count),
          `${says.pod} offered`,
        );
        variables = (await node.kubelet.allocate(resource, Number(count))).envs;
      }
      const command = text.replaceAll(/(?<=^|[\s>])(?=\/(?:sys|etc|var|dev)\/)/gm, node.root);
      // The kubelet's double is in this process, and the plugin asks it.
      const { stdout, stderr, status } = await runProgram(["sh", "-euc", command], {
        env: { PATH: `${programs}:${process.env["PATH"]}`, ...variables },
        timeout: 20_000,
      });
      const printed = (stdout || stderr).replaceAll(node.root, "");
      expect({ status, printed }).toEqual({ status: Number(says["exit status"] ?? 0), printed });
      if (prints !== null && !printsAsSaid(printed, prints)) expect(printed).toBe(prints);
    });
  }
}
