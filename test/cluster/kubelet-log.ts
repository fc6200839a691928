// What the node's kubelet says in its log, to the millisecond: the node object shows only what was so at its last update.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { facts } from "./cluster.ts";

/** The kubelet's log of now, that of earlier kubelets of this boot before it. */
export const kubeletLog = (): string => readFileSync(join(facts().share, "kubelet.log"), "utf8");

/** The lines by which the device manager loses and gets a resource's devices (kubernetes pkg/kubelet/cm/devicemanager/manager.go, level 2). */
const lines =
  /^[IWE]\d{4} (\d+):(\d+):([\d.]+) .*"(?:(Mark all resources Unhealthy) for resource|Processed device updates for resource)" resourceName="([^"]+)"(?: totalCount=\d+ healthyCount=(\d+))?/gm;

/** For how many milliseconds a part of the kubelet's log says that no device of a resource could be allocated; Infinity when it still can't. */
export function outageOf(log: string, resource: string): number {
  let total = 0;
  let since: number | null = null;
  for (const [, hours, minutes, seconds, isLost, name, healthy] of log.matchAll(lines)) {
    if (name !== resource) continue;
    const at = ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
    if (isLost !== undefined) since ??= at;
    else if (since !== null && Number(healthy) > 0) {
      total += at - since;
      since = null;
    }
  }
  return since === null ? Math.round(total) : Infinity;
}

/** The numbers of a resource's devices that a part of the kubelet's log says it received, in their order. */
export const countsIn = (log: string, resource: string): number[] =>
  [...log.matchAll(/"Processed device updates for resource" resourceName="([^"]+)" totalCount=(\d+)/g)]
    .filter(([, name]) => name === resource)
    .map(([, , count]) => Number(count));
