// `explain`: why is a device where it is, and what is in a pool and what isn't? The running plugin is queried first.

import { oneLine } from "../../text.ts";
import type { Device } from "../../host/device.ts";
import { kindOf } from "../../pools/device-kind.ts";
import { exclusionsOf } from "../../pools/device-types.ts";
import { notableLinkRule } from "../../pools/health.ts";
import { explain, explainPool, type PoolExplanation, type PoolVerdict } from "../../pools/explanation.ts";
import { type Selector, type SelectorName, selectors } from "../../pools/selectors.ts";
import type { FullStatus } from "../../telemetry/plugin-status.ts";
import { deviceText, poolText } from "../explain-text.ts";
import { type Outcome } from "../explain-schema.ts";
import {
  deviceState,
  healthOf,
  isConfigNamed,
  loadConfigFile,
  viewNode,
  runningView,
  scan,
  type View,
} from "../view.ts";
import { named, nearMiss } from "../find-by-name.ts";
import { exitStatus, type Output, print, styleOf } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { pathsOf } from "../paths.ts";

/** `explain`: shows the devices and pools that are named; all pools without arguments. */
export async function explainCommand(line: CommandLine, output: Output): Promise<number> {
  const opened = await open(line, output);
  if (!opened) return exitStatus.operatorMistake;
  const { view, skipped, configFile } = opened;
  const named = operandsOf(line.operands, view);
  for (const word of named.unknown) {
    const why = skipped.includes(word) ? skippedEntry(word) : unknown(word, view, configFile);
    output.err(`sriovdp: ${oneLine(why)}\n`);
  }
  const { devices, pools, withheld, allocations } = view;
  const verdicts = named.devices.map((device) => ({ device, verdicts: explain(device, pools, withheld) }));
  const explanations = named.pools.map((pool) => explainPool(pool, pools, devices, withheld));
  const data = {
    source: view.status ? ("plugin" as const) : ("scan" as const),
    devices: verdicts.map((each) => deviceData(each, view)),
    resources: explanations.map((explanation) => explanationData(explanation, view)),
  };
  const style = { ...styleOf(line, output), all: line.options.all, allocations, withheld };
  const exclusions = view.status?.excluded ?? [];
  await print(output, line.options.output, data, () =>
    [
      ...verdicts.map(({ device, verdicts: reached }) =>
        deviceText(
          device,
          reached,
          exclusions.filter((each) => each.device === device.id),
          style,
        ),
      ),
      ...explanations.map((explanation) => poolText(explanation, style)),
      ...(pools.length === 0 && line.operands.length === 0 ? ["the config file has no pools\n"] : []),
    ].join("\n"),
  );
  return named.unknown.length > 0 ? exitStatus.failure : exitStatus.ok;
}

interface Opened {
  readonly view: View;
  /** Full names of entries that are skipped, and the config file that the pools are from. */
  readonly skipped: readonly string[];
  readonly configFile: string;
}

/** The running plugin's node and pools where no other config is named, else what a scan finds; null when the config file is rejected. */
async function open(line: CommandLine, output: Output): Promise<Opened | null> {
  const { configFile } = pathsOf(line);
  const why = isConfigNamed(line) ? null : await runningView(line);
  if (why !== null && typeof why !== "string") {
    output.err(answeredBy(why.status));
    return { view: why, skipped: [], configFile: why.status?.config.file ?? configFile };
  }
  const { specs, skipped } = loadConfigFile(line, output);
  if (!specs) return null;
  const view = why === null ? await viewNode(line, specs, output) : await scan(line, specs, why, output);
  return { view, skipped, configFile };
}

function answeredBy(status: FullStatus | null): string {
  if (!status) return "";
  const { pid, config } = status;
  const rejected = config.lastReload?.success === false;
  const file = rejected ? `${config.file} as it was; as it is now it is rejected: see "sriovdp status"` : config.file;
  return `note: answered by the running plugin, process ${pid}, with ${oneLine(file)}\n`;
}

function operandsOf(words: readonly string[], view: View) {
  const found = words.map((word) => ({ word, ...named(word, view) }));
  return {
    devices: [...new Set(found.flatMap((each) => each.devices))],
    pools: words.length === 0 ? view.pools : [...new Set(found.flatMap((each) => each.pools))],
    unknown: found.filter((each) => each.devices.length + each.pools.length === 0).map(({ word }) => word),
  };
}

const skippedEntry = (resource: string): string =>
  `the entry of ${resource} is skipped, so it has no device; its problem is printed above`;

function unknown(word: string, view: View, configFile: string): string {
  const near = nearMiss(word, view);
  const isPod = /^[^/]+\/[^/]+$/.test(word);
  const kinds = view.status ? "device, interface, resource or pod" : "device, interface or resource";
  const hint =
    isPod && !view.status
      ? "pods can be looked up only while the plugin runs"
      : `"sriovdp discover" lists the devices, ${configFile} the resources`;
  return near === null
    ? `no ${kinds} is named ${JSON.stringify(word)}; ${hint}`
    : `nothing is named ${JSON.stringify(word)}; did you mean ${near}?`;
}

function outcomeOf({ outcome, takenBy, trials, selector }: PoolVerdict, device: Device, isWithheld: boolean): Outcome {
  if (outcome === "taken") return selector === null ? "retained" : "selected";
  if (trials.length === 0) return "other type";
  if (takenBy === null && exclusionsOf(device).length > 0) return "excluded";
  if (!trials.some(({ passes }) => passes)) return "not selected";
  return takenBy === null && isWithheld ? "withheld" : "claimed earlier";
}

/** A device's verdicts as -o json prints them. */
function deviceData(
  { device, verdicts }: { readonly device: Device; readonly verdicts: readonly PoolVerdict[] },
  view: View,
) {
  const owner = view.pools.find(({ claims }) => claims.has(device.id));
  return {
    id: device.id,
    kind: kindOf(device),
    ...deviceState(device, owner, view),
    /** The rule that decides about the link, as a sentence's end; null when there is nothing special about it. */
    linkRule: notableLinkRule(device),
    verdicts: verdicts.map((verdict) => ({
      resource: verdict.resource,
      outcome: outcomeOf(verdict, device, view.withheld.has(device.id)),
      reasons: verdict.reasons,
      claimedBy: verdict.takenBy,
      selector: verdict.selector,
      trials: verdict.trials,
    })),
  };
}

/** The explanation of a pool as -o json prints it: devices by their ids, selectors as the operator writes them. */
function explanationData({ spec, devices, taken, withheld, refused, others }: PoolExplanation, view: View) {
  const idsOf = (those: readonly Device[]) => those.map(({ id }) => id);
  return {
    resource: spec.resource,
    deviceType: spec.deviceType,
    selectors: spec.selectors.map((selectorObject) =>
      Object.fromEntries(
        Object.entries(selectorObject).map(([name, value]) => [
          name,
          (selectors[name as SelectorName] as Selector<unknown>).shows(value),
        ]),
      ),
    ),
    devices: devices.map(({ device, selector, unhealthy }) => ({
      id: device.id,
      selector,
      health: healthOf(unhealthy),
      unhealthyReason: unhealthy,
      allocation: view.allocations.get(device.id) ?? null,
    })),
    claimedEarlier: taken.map(({ device, by }) => ({ id: device.id, claimedBy: by })),
    withheld: withheld.map(({ device, retention: { resource, pod, nextPool } }) => ({
      id: device.id,
      resource,
      pod,
      nextPool,
    })),
    excluded: refused
      .filter(({ reasons }) => reasons.length > 0)
      .map(({ reasons, devices: those }) => ({ reasons, devices: idsOf(those) })),
    notSelected: refused
      .filter(({ reasons }) => reasons.length === 0)
      .map(({ failed, devices: those }) => ({
        failed,
        devices: idsOf(those),
      })),
    ofOtherTypes: others,
  };
}
