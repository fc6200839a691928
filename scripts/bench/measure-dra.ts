// How does the plugin do in the DRA role? The same simulated node, with an API server played by the test support.

import type { ClaimReference } from "../../src/allocation/claim.ts";
import { DraNode, driver } from "../../test/support/dra-node.ts";
import { setLink } from "../../test/support/live.ts";
import { until } from "../../test/support/until.ts";
import { settings } from "../build/environment.ts";
import { type Figures, patience, rested, timed } from "./measure.ts";
import { memoryOf } from "./process.ts";
import { quantile } from "./quantile.ts";
import { nameOf, nodeOf, pfName, type Shape } from "./shapes.ts";

/** How many claims are prepared, one after the other. */
const claims = 300;

/** Measures one shape; names of figures begin with the shape's. */
export async function measureDra(shape: Shape): Promise<Figures> {
  const figures: Record<string, number> = {};
  const note = (name: string, value: number) => (figures[`${nameOf(shape)} DRA ${name}`] = value);
  const { entries, config } = nodeOf(shape);
  await using node = await DraNode.start({ entries, config, inMemory: true });
  const published = (count: number) =>
    until("the devices are published", () => node.untainted.length === count, patience);
  const start = () => node.startPluginUnder(["env", ...settings], ...node.args, `--config-file=${node.configFile}`);

  note("published ms", await timed(() => (start(), published(shape.vfs))));
  await node.dra.waitForPlugins(driver);
  await rested(node, 0);
  const memory = memoryOf(node.plugin.pid);
  note("idle RSS MiB", memory.rss);
  note("idle PSS MiB", memory.pss);
  note("idle private MiB", memory.private);

  const bytes = node.slices.reduce((sum, slice) => sum + JSON.stringify(slice.spec.devices).length, 0);
  note("bytes a device", bytes / shape.vfs);
  const prepare: number[] = [];
  const unprepare: number[] = [];
  const ids = node.untainted;
  for (let index = 0; index < claims; index++) {
    const claim: ClaimReference = node.claim(`pod-${index}`, node.result("nics", ids[index % ids.length] ?? ""));
    prepare.push(await timed(() => node.dra.prepare(driver, claim)));
    unprepare.push(await timed(() => node.dra.unprepare(driver, claim)));
  }
  note("prepare p50 ms", quantile(prepare, 0.5));
  note("prepare p99 ms", quantile(prepare, 0.99));
  note("unprepare p50 ms", quantile(unprepare, 0.5));

  const lost = shape.vfs / shape.pfs;
  note("link loss ms", await timed(() => (setLink(node.root, pfName(0), "down"), published(shape.vfs - lost))));
  setLink(node.root, pfName(0), "up");
  await published(shape.vfs);
  node.api.remove(node.slices[0]?.metadata.name ?? "");
  note("deleted slice back ms", await timed(() => published(shape.vfs)));

  await until("nothing is to be written", async () => (await isCurrent(node)) === true, patience);
  const writes = node.writes;
  await node.plugin.stop();
  start();
  await until("it is published as before", async () => (await isCurrent(node)) === true, patience);
  note("writes of a restart", node.writes - writes);
  return figures;
}

/** Whether the plugin has nothing to write; null while it does not answer. */
async function isCurrent(node: DraNode): Promise<boolean | null> {
  const { status, stdout } = await node.command("status", "--json");
  if (status !== 0) return null;
  const { dra } = JSON.parse(stdout) as { dra: { publication: { isCurrent: boolean } } };
  return dra.publication.isCurrent;
}
