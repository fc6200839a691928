// Do the commands of docs/ that are for a cluster work there, and print what the pages say? In their order, in a folder that has
// deployments/ and a config.json, as an administrator has them in a checkout.

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { printedInCluster, toCluster } from "../docs/cluster.ts";
import { printsAsSaid } from "../docs/lab.ts";
import { type Block, readPage } from "../docs/pages.ts";
import { type Ended, runProgram } from "../support/run-program.ts";
import { clusterTest, facts, hasCluster, kubectl, waitFor } from "./cluster.ts";
import { bindFirstVfs, clusterPreparations, removePlugin } from "./docs-preparations.ts";
import { kubectlCommand, kubectlEnvironment } from "./kubectl.ts";
import { deployBase, deployments, namespace, pools, waitForNode } from "./plugin.ts";

const docs = join(import.meta.dir, "../../docs");

/** How long a block may take, in seconds: it may wait for a pod on an emulated machine. */
const blockLimit = 240;

let folder = "";
const version = () => facts().imageName.split(":").at(-1) ?? "";

beforeAll(async () => {
  if (!hasCluster) return;
  await waitForNode();
  folder = mkdtempSync(join(tmpdir(), "sriovdp-docs-"));
  cpSync(deployments, join(folder, "deployments"), { recursive: true });
  const { namespace: pid, kubernetes, kubeconfig } = facts();
  const command = kubectlCommand(pid, kubernetes, kubeconfig);
  writeFileSync(join(folder, "kubectl"), `#!/bin/sh\nexec ${command.join(" ")} "$@"\n`);
  chmodSync(join(folder, "kubectl"), 0o755);
});

afterAll(async () => {
  if (!hasCluster) return;
  rmSync(folder, { recursive: true, force: true });
  await removePlugin();
  await bindFirstVfs("vfio-pci");
});

for (const name of [...new Bun.Glob("**/*.md").scanSync(docs)].toSorted()) {
  const { blocks } = readPage(readFileSync(join(docs, name), "utf8"));
  const here = blocks.filter(({ says }) => says.machine === "cluster");
  if (here.length > 0) describe(name, () => tryPage(name, here));
}

function tryPage(name: string, blocks: readonly Block[]): void {
  beforeAll(() => {
    if (hasCluster) writeFileSync(join(folder, "config.json"), JSON.stringify(pools));
  });
  for (const block of blocks) {
    const { says, line, text } = block;
    clusterTest(`${name}:${line}: ${says.file ?? text.split("\n", 1)[0]}`, async () => {
      for (const each of says.lab?.split(",") ?? []) await prepare(each.trim());
      if (says.plugin !== undefined) {
        await bindFirstVfs("vfio-pci");
        await deployBase();
      }
      if (says.file === undefined) await run(block);
      else writeFileSync(join(folder, says.file), `${toCluster(text, version())}\n`);
    });
  }
}

async function prepare(name: string): Promise<void> {
  const preparation = clusterPreparations[name];
  if (!preparation) throw new Error(`docs-preparations.ts has no "${name}"`);
  await preparation();
}

/** A command that changes nothing: what it prints is waited for, since a cluster needs its time. */
const question = /^kubectl (?:-n \S+ )?(?:get|describe|exec|logs) /;

async function run({ text, prints }: Block): Promise<void> {
  const commands = await withPod(toCluster(text, version()));
  const expected = prints === null ? null : printedInCluster(prints, version());
  const first = await shell(commands);
  expect(first).toMatchObject({ status: 0 });
  if (expected === null || printsAsSaid(first.stdout, expected)) return;
  let last = first.stdout;
  if (commands.split("\n").every((command) => question.test(command)))
    await waitFor(
      "it prints what the page says",
      async () => printsAsSaid((last = (await shell(commands)).stdout), expected),
      { seconds: 60, found: () => last },
    ).catch(() => {});
  if (!printsAsSaid(last, expected)) expect(last).toBe(expected);
}

/** "POD" in a command is the plugin's pod on the node. */
async function withPod(commands: string): Promise<string> {
  if (!/\bPOD\b/.test(commands)) return commands;
  const pod = await kubectl(namespace, "get", "pods", "--selector=app=sriovdp", "--output=name");
  return commands.replaceAll(/\bPOD\b/g, pod.trim());
}

const shell = (commands: string): Promise<Ended> => {
  const env = kubectlEnvironment(facts().kubeconfig);
  return runProgram(["timeout", String(blockLimit), "sh", "-euc", commands], {
    cwd: folder,
    env: { ...env, PATH: `${folder}:${env["PATH"]}` },
  });
};
