// The text of a scrape, as prom-client writes it, from values that are read at the scrape. prom-client is loaded at the
// first scrape: without scrapes the plugin does without its memory.

import type * as library from "prom-client";
import type { OpenMetricsContentType, PrometheusContentType, Registry } from "prom-client";
import type { Metric, Sample, Seen } from "./metric.ts";
import { metrics } from "./metrics.ts";
import { podDeviceMetrics } from "./pod-devices.ts";

type Library = typeof library;
type AnyRegistry = Registry<PrometheusContentType> | Registry<OpenMetricsContentType>;

/** A scrape's text and its content type: OpenMetrics where the scraper accepts it, else Prometheus' own. */
export async function exposition(seen: Seen, accept: string): Promise<{ body: string; contentType: string }> {
  const client = await import("prom-client");
  const registry = newRegistry(client, /\bapplication\/openmetrics-text\b/.test(accept));
  const exposed = seen.podDevices ? { ...metrics, ...podDeviceMetrics } : metrics;
  for (const [name, metric] of Object.entries(exposed) as [string, Metric][]) {
    const { type, read } = metric;
    if (type === "histogram") addHistogram(client, registry, name, metric, read(seen));
    else addValues(client, registry, name, metric, read(seen));
  }
  return { body: await registry.metrics(), contentType: registry.contentType };
}

function newRegistry({ Registry: registryClass }: Library, isOpenMetrics: boolean): AnyRegistry {
  if (!isOpenMetrics) return new registryClass<PrometheusContentType>();
  const registry = new registryClass<OpenMetricsContentType>();
  registry.setContentType(registryClass.OPENMETRICS_CONTENT_TYPE);
  return registry;
}

function addValues(
  { Counter, Gauge }: Library,
  registry: AnyRegistry,
  name: string,
  { type, help, labels: labelNames }: Metric,
  values: readonly Sample[],
): void {
  const options = { name, help, labelNames, registers: [registry] };
  const metric = type === "counter" ? new Counter(options) : new Gauge(options);
  // One without labels begins with a 0, which a value that is missing must not show.
  if (values.length === 0 && labelNames.length === 0) metric.remove();
  for (const { labels = {}, value } of values) metric.inc(labels, value);
}

/** A histogram whose buckets are counted already: prom-client's own would have to observe each value. */
function addHistogram(
  { Gauge, Histogram }: Library,
  registry: AnyRegistry,
  name: string,
  { help }: Metric,
  samples: readonly Sample[],
): void {
  const empty = new Histogram({ name, help, registers: [] });
  const values = samples.map(({ labels = {}, value, suffix = "" }) => ({ labels, value, metricName: name + suffix }));
  class Counted extends Gauge {
    override async get() {
      return { ...(await empty.get()), values };
    }
  }
  registry.registerMetric(new Counted({ name, help, registers: [] }));
}
