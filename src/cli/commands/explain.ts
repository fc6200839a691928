// `explain`: why is a device where it is, and what is in a pool and what isn't?

import { oneLine } from "../../text.ts";
import type { Device } from "../../host/device.ts";
import { notableLinkRule } from "../../pools/health.ts";
import { explain, explainPool, type PoolStory, type PoolVerdict } from "../../pools/explanation.ts";
import { type Selector, type SelectorName, selectors } from "../../pools/selectors.ts";
import { deviceText, poolText } from "../explain-text.ts";
import { kindOf } from "../describe.ts";
import { loadConfigFile, look, type View } from "../view.ts";
import { named, nearMiss } from "../find-by-name.ts";
import { exitStatus, type Output, print } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";

/** `explain`: tells of the devices and pools that are named; of all pools when nothing is. */
export async function explainCommand(line: CommandLine, output: Output): Promise<number> {
  const { specs, skipped } = loadConfigFile(line, output);
  if (!specs) return exitStatus.operatorMistake;
  const view = await look(line, specs, output);
  const asked = askedFor(line.operands, view);
  for (const word of asked.unknown) {
    const why = skipped.includes(word) ? skippedEntry(word) : unknown(word, view, pathsOf(line).configFile);
    output.err(`sriovdp: ${oneLine(why)}\n`);
  }
  const { devices, pools } = view;
  const verdicts = asked.devices.map((device) => ({ device, verdicts: explain(device, pools) }));
  const stories = asked.pools.map((pool) => explainPool(pool, pools, devices));
  const data = { devices: verdicts.map(deviceData), resources: stories.map(storyData) };
  const style = { ...output, all: line.options.all };
  await print(output, line.options.output, data, () =>
    [
      ...verdicts.map(({ device, verdicts: told }) => deviceText(device, told, style)),
      ...stories.map((story) => poolText(story, style)),
      ...(pools.length === 0 && line.operands.length === 0 ? ["the config file has no pools\n"] : []),
    ].join("\n"),
  );
  return asked.unknown.length > 0 ? exitStatus.failure : exitStatus.ok;
}

function askedFor(words: readonly string[], { devices, pools }: View) {
  const found = words.map((word) => ({ word, ...named(word, devices, pools) }));
  return {
    devices: [...new Set(found.flatMap((each) => each.devices))],
    pools: words.length === 0 ? pools : [...new Set(found.flatMap((each) => each.pools))],
    unknown: found.filter((each) => each.devices.length + each.pools.length === 0).map(({ word }) => word),
  };
}

const skippedEntry = (resource: string): string =>
  `the entry of ${resource} is skipped, so it has no device; its problem is told above`;

function unknown(word: string, { devices, pools }: View, configFile: string): string {
  const near = nearMiss(word, devices, pools);
  return near === null
    ? `no device or interface of this node, and no resource of ${configFile}, is called ${JSON.stringify(word)}; "sriovdp discover" lists what there is`
    : `nothing is called ${JSON.stringify(word)}; did you mean ${near}?`;
}

/** A device's verdicts as -o json prints them. */
const deviceData = ({ device, verdicts }: { readonly device: Device; readonly verdicts: readonly PoolVerdict[] }) => ({
  device: device.id,
  kind: kindOf(device),
  pool: verdicts.find(({ outcome }) => outcome === "taken")?.resource ?? null,
  /** The rule that decides about the link, as a sentence's end; null when there is nothing special about it. */
  link: notableLinkRule(device),
  verdicts,
});

/** A pool's story as -o json prints it: devices by their ids, selectors as the operator writes them. */
function storyData({ spec, devices, taken, refused, others }: PoolStory) {
  return {
    resource: spec.resource,
    deviceType: spec.deviceType,
    selectors: spec.selectors.map((wanted) =>
      Object.fromEntries(
        Object.entries(wanted).map(([name, value]) => [
          name,
          (selectors[name as SelectorName] as Selector<unknown>).shows(value),
        ]),
      ),
    ),
    devices: devices.map(({ device, selector, unhealthy }) => ({
      device: device.id,
      selector,
      health: unhealthy === null ? "Healthy" : "Unhealthy",
      unhealthy,
    })),
    takenBefore: taken.map(({ device, by }) => ({ device: device.id, by })),
    refused: refused.map(({ reasons, failed, devices: those }) => ({
      reasons,
      failed,
      devices: those.map(({ id }) => id),
    })),
    ofOtherTypes: others,
  };
}
