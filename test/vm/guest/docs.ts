// Do the commands of docs/ run, and print what the pages say? In their order, a page after the other, as a person would
// who has a shell on the node, or in a pod.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { interfaceNames, type MachineName, machineNames, printsAsSaid, toLab } from "../../docs/lab.ts";
import { type Block, readPage } from "../../docs/pages.ts";
import { KubeletDouble } from "../../support/kubelet.ts";
import { preparations } from "./docs-preparations.ts";
import { deviceInfoFolder, kubeletRoot } from "./plugin.ts";
import {
  attempt,
  devicePath,
  executable,
  json,
  netdevsOf,
  pf0,
  pf1,
  type Program,
  renamePf,
  reset,
  sh,
  start,
  vfsOf,
  waitFor,
  writeSys,
} from "./support.ts";

const folder = "/payload/docs";
const written: string[] = [];
let node: { readonly kubelet: KubeletDouble; readonly plugin: Program } | null = null;

/** Makes tests of all blocks that are for this machine; those that no machine can run are skipped, with their reason. */
export function tryPages(machine: MachineName): void {
  for (const name of [...new Bun.Glob("**/*.md").scanSync(folder)].toSorted()) {
    const { blocks } = readPage(readFileSync(`${folder}/${name}`, "utf8"));
    const tested = blocks.filter(
      ({ language, says }) => (language === "sh" || says.file !== undefined) && says.fixture === undefined,
    );
    // Files that are for no machine in particular are put on each that the page has commands for.
    const here = tested.filter(
      ({ language, says }) => (says.machine ?? (language === "sh" ? machineNames[0] : machine)) === machine,
    );
    if (here.some(({ language }) => language === "sh")) describe(name, () => tryPage(name, here));
  }
}

function tryPage(name: string, blocks: readonly Block[]): void {
  beforeAll(async () => {
    if (!existsSync("/usr/bin/sriovdp")) symlinkSync(executable, "/usr/bin/sriovdp");
    await reset();
    await renamePf(pf0, interfaceNames.pf0);
    await renamePf(pf1, interfaceNames.pf1);
    for (const pf of [pf0, pf1]) writeSys(`${devicePath(pf)}/sriov_drivers_autoprobe`, 1);
  });

  afterAll(async () => {
    await node?.plugin.stop();
    node?.kubelet.stop();
    node = null;
    for (const path of [...written.splice(0), "/etc/pcidp/config.json"]) rmSync(path, { force: true });
    // What a filter of ip leaves out is an empty object in its JSON.
    const bonds = await json<{ ifname?: string }[]>("ip -j link show type bond", []);
    for (const { ifname } of bonds) if (ifname) await sh(`ip link delete ${ifname}`);
  });

  for (const block of blocks) {
    const title = `${name}:${block.line}: ${block.says.file ?? firstCommand(block)}`;
    const reason = block.says["not run"];
    if (reason !== undefined) test.skip(`${title} (not run: ${reason})`, () => {});
    else
      test(title, async () => {
        for (const each of block.says.lab?.split(",") ?? []) await prepare(each.trim());
        await nameVfs();
        if (block.language === "sh") await run(block);
        else write(block);
        await nameVfs();
      });
  }
}

const firstCommand = ({ text }: Block): string =>
  text.split("\n").find((line) => line.trim() !== "" && !line.startsWith("#")) ?? "";

async function prepare(name: string): Promise<void> {
  const preparation = preparations[name];
  if (!preparation) throw new Error(`docs-preparations.ts has no "${name}"`);
  await preparation();
}

async function run({ text, prints, says }: Block): Promise<void> {
  const environment = says.pod === undefined ? {} : await environmentOfPod(says.pod);
  if (says.plugin !== undefined) await runningNode();
  // A block may wait for something that never comes.
  const variables = { ...environment, BLOCK: `cd /tmp; ${toLab(text)}` };
  const { status, stdout, stderr } = await attempt('timeout 60 dash -euc "$BLOCK"', variables);
  expect({ status, stderr }).toEqual({ status: Number(says["exit status"] ?? 0), stderr });
  if (prints === null) return;
  let printed = stdout || stderr;
  const isAsSaid = () => printsAsSaid(printed, toLab(prints));
  // A NIC whose VFs were just made has no carrier for a moment: commands that only read are repeated.
  const question = /^sriovdp (?:discover|explain|status).*$/.exec(toLab(text).trimEnd().split("\n").at(-1) ?? "")?.[0];
  for (let left = question === undefined ? 0 : 20; left > 0 && !isAsSaid(); left--) {
    await Bun.sleep(500);
    printed = (await attempt(question ?? "", environment)).stdout;
  }
  if (!isAsSaid()) expect(printed).toBe(toLab(prints));
}

function write({ text, says: { file = "" } }: Block): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${toLab(text)}\n`);
  written.push(file);
}

/** The kubelet's double, and the plugin with the config that the page has put in its place; both until the page ends. */
async function runningNode(): Promise<NonNullable<typeof node>> {
  if (node) return node;
  for (const each of [kubeletRoot, deviceInfoFolder]) rmSync(each, { recursive: true, force: true });
  const kubelet = new KubeletDouble(kubeletRoot, "watcher");
  await kubelet.start();
  node = { kubelet, plugin: start("docs", [executable]) };
  await waitFor("the plugin is ready", () => sh("sriovdp probe readiness"));
  return node;
}

/** The variables of a container that has devices of the resources named, one of each, or as many as stand after "=". */
async function environmentOfPod(resources: string): Promise<Record<string, string>> {
  const { kubelet } = await runningNode();
  const all: Record<string, string> = {};
  for (const each of resources.split(",")) {
    const [resource = "", count = "1"] = each.trim().split("=");
    await kubelet.waitFor((seen) => seen.resource(resource).allocatable >= Number(count), `${each} is offered`);
    Object.assign(all, (await kubelet.allocate(resource, Number(count))).envs);
  }
  return all;
}

/** Names the interfaces of VFs as udev does on a node: ens1f0v2. */
async function nameVfs(): Promise<void> {
  for (const [pf, pfName] of [
    [pf0, interfaceNames.pf0],
    [pf1, interfaceNames.pf1],
  ] as const) {
    for (const [index, vf] of vfsOf(pf).entries()) {
      const [netdev] = netdevsOf(vf);
      const expected = `${pfName}v${index}`;
      if (netdev !== undefined && netdev !== expected) await sh(`ip link set ${netdev} down name ${expected}`);
    }
  }
}
