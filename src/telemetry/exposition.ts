// How does a scrape read? As prom-client writes it, from values that are taken when they are asked for. Only its registry
// is imported, and at the first scrape: the whole library would cost 14 MiB of memory for parts that aren't used.

import type { Registry, RegistryContentType } from "prom-client";
import { type Metric, metrics, type Seen } from "./metrics.ts";
import { podDeviceMetrics } from "./pod-devices.ts";

/** A scrape's text and its content type: OpenMetrics where the scraper accepts it, else Prometheus' own. */
export async function exposition(seen: Seen, accept: string): Promise<{ body: string; contentType: string }> {
  const { default: registryClass } = await import("prom-client/lib/registry.js");
  const registry: Registry<RegistryContentType> = new registryClass();
  if (/\bapplication\/openmetrics-text\b/.test(accept)) registry.setContentType(registryClass.OPENMETRICS_CONTENT_TYPE);
  const wanted = seen.podDevices ? { ...metrics, ...podDeviceMetrics } : metrics;
  for (const [name, metric] of Object.entries(wanted) as [string, Metric][]) register(registry, name, metric, seen);
  return { body: await registry.metrics(), contentType: registry.contentType };
}

/** A registry takes anything that it can ask for its name, its type and its values; OpenMetrics changes the name. */
function register(
  registry: Registry<RegistryContentType>,
  name: string,
  { type, help, read }: Metric,
  seen: Seen,
): void {
  const values = read(seen).map(({ labels, value, suffix }) => ({
    labels: labels ?? {},
    value,
    ...(suffix === undefined ? {} : { metricName: name + suffix }),
  }));
  const metric = { name, help, type, values, get: () => metric };
  registry.registerMetric(metric as never);
}
