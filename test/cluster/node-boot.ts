// The node's boots as its administrator has them: VFs that the unit of docs/guides/persisting-vfs.md makes, and the disk booted again.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { readPage } from "../docs/pages.ts";
import { type BootRequest, firstBoot, requestBoot, requestedBoot } from "./boots.ts";
import { facts, kubectl, onNode, read, waitFor } from "./cluster.ts";

const script = "/usr/local/sbin/make-vfs";
const unit = "/etc/systemd/system/make-vfs.service";

/** A file of the page, with the cluster's names of the PFs. */
function fileOfPage(path: string): string {
  const source = readFileSync(join(import.meta.dir, "../../docs/guides/persisting-vfs.md"), "utf8");
  const block = readPage(source).blocks.find(({ says }) => says.file === path);
  if (block === undefined) throw new Error(`docs/guides/persisting-vfs.md has no file ${path}`);
  return block.text.replaceAll("ens1f0", "pf0").replaceAll("ens2f0", "pf1");
}

/**
 * Installs the unit of the page, which the guest's own script runs when it boots; `vfs` replaces the arguments of its script, one element for
 * each PF: "pf0 7". Returns the unit's commands.
 */
export async function installVfUnit(vfs: readonly string[] | null = null): Promise<string[]> {
  const lines = vfs?.map((words) => `ExecStart=/bin/sh ${script} ${words}\n`).join("");
  const service = lines ? fileOfPage(unit).replace(/(?:^ExecStart=.*\n)+/m, lines) : fileOfPage(unit);
  const write = (path: string, text: string) => `mkdir -p ${dirname(path)}\ncat >${path} <<'END'\n${text}\nEND`;
  await onNode(`${write(script, fileOfPage(script))}\n${write(unit, service)}`);
  return [...service.matchAll(/^ExecStart=(.*)$/gm)].map(([, command = ""]) => command);
}

const bootId = async (): Promise<string> =>
  (await read<{ status: { nodeInfo: { bootID: string } } }>("node", "lab")).status.nodeInfo.bootID;

/**
 * Boots the node's disk again, after an orderly shutdown or when its power was cut, and waits until the kubelet says that the node is Ready.
 * Returns for how many seconds the node was away.
 */
export async function bootAgain(request: Partial<BootRequest>): Promise<number> {
  const { share } = facts();
  const before = await bootId();
  const started = performance.now();
  // The kernel writes what is older than half a minute; the pods' networks are younger here, and CNIs can't use a file that was cut short.
  if (request.cut) await onNode("sync");
  requestBoot(share, { ...firstBoot, ...request });
  if (!request.cut) await onNode("setsid /usr/bin/dash /payload/shutdown >/share/shutdown.log 2>&1 &");
  // Two tries, each with its limit, after the shutdown's.
  await waitFor("the node has booted", () => requestedBoot(share) === null, { seconds: 270 });
  const ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}";
  await waitFor(
    "the node is Ready again",
    async () => (await bootId()) !== before && (await kubectl("get", "node", "lab", ready)) === "True",
  );
  return (performance.now() - started) / 1000;
}
