// What is a metric? The form of a row in the table of metrics.ts, and its values. Times are in seconds, as Prometheus has them; the plugin
// measures milliseconds.

import type { Histogram, Journal } from "./journal.ts";
import type { FullStatus } from "./plugin-status.ts";
import type { ProcessFacts } from "./process-facts.ts";

/** All that a scrape is made of. */
export interface Seen {
  readonly status: FullStatus;
  readonly journal: Journal;
  readonly process: ProcessFacts;
  /** Whether each allocated device has a series of its own (pod-devices.ts). */
  readonly podDevices: boolean;
}

/** One value of a metric, with its labels. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  /** What is added to the metric's name: "_bucket", "_sum" and "_count" of a histogram. */
  readonly suffix?: string;
}

/** A metric. */
export interface Metric {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
  readonly read: (seen: Seen) => readonly Sample[];
}

/** The one value of a metric without labels. */
export const single = (value: number): Sample[] => [{ value }];

/** A number in seconds, of one in milliseconds. */
export const seconds = (milliseconds: number) => milliseconds / 1000;

/** A histogram of milliseconds, in seconds: each bucket holds those before it too. */
export function inSeconds({ bounds, counts, sum }: Histogram): Sample[] {
  let count = 0;
  const buckets = counts.map((each, index): Sample => {
    count += each;
    const bound = bounds[index];
    return { suffix: "_bucket", labels: { le: bound === undefined ? "+Inf" : String(seconds(bound)) }, value: count };
  });
  return [...buckets, { suffix: "_sum", value: seconds(sum) }, { suffix: "_count", value: count }];
}
