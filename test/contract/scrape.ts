// How does a test scrape the plugin? At its socket, in Prometheus' text format, read strictly.

import type { TestNode } from "../support/plugin.ts";

/** One line of a scrape. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export type Series = readonly Sample[];

const labelled = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y;

/** Reads Prometheus' text format; throws for a line of another form. */
export function parseSeries(text: string): Series {
  return text.split("\n").flatMap((line) => {
    if (line === "" || /^# (HELP|TYPE) /.test(line)) return [];
    const [, name = "", inner = "", value = ""] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === "" || Number.isNaN(Number(value))) throw new Error(`not a line of a scrape: ${line}`);
    const labels: Record<string, string> = {};
    for (let at = 0; at < inner.length; at = labelled.lastIndex) {
      labelled.lastIndex = at;
      const [, label = "", quoted = ""] = labelled.exec(inner) ?? [];
      if (label === "") throw new Error(`labels can't be read: ${line}`);
      labels[label] = quoted.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    }
    return [{ name, labels, value: Number(value) }];
  });
}

/** Scrapes the plugin of a node. */
export async function scrape(node: TestNode): Promise<Series> {
  const response = await fetch("http://localhost/metrics", { unix: `${node.root}/run/sriovdp/status.sock` });
  return parseSeries(await response.text());
}

export const samples = (series: Series, name: string): Sample[] => series.filter((sample) => sample.name === name);
