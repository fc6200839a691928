// The upstream plugin's published figures on two shared cores, and the limit of each for sriovdp.

/** A figure of the upstream plugin: the value, or the range of several runs; null where it never does. */
export interface Published {
  /** The figure's name. */
  readonly figure: string;
  readonly upstream: readonly [least: number, most: number] | null;
  /** The highest value for sriovdp (the lowest, with `atLeast`). */
  readonly limit: number;
  readonly atLeast?: true;
}

const allocate = (
  shape: string,
  one: readonly [number, number],
  eight: readonly [number, number] | null,
): Published[] => [
  { figure: `${shape} Allocate 1 p50 µs`, upstream: [one[0], one[0]], limit: one[0] },
  { figure: `${shape} Allocate 1 p99 µs`, upstream: [one[1], one[1]], limit: one[1] },
  ...(eight
    ? [
        { figure: `${shape} Allocate 8 p50 µs`, upstream: [eight[0], eight[0]], limit: eight[0] } as const,
        { figure: `${shape} Allocate 8 p99 µs`, upstream: [eight[1], eight[1]], limit: eight[1] } as const,
      ]
    : []),
];

/** One row a figure that the upstream plugin has, too. */
export const published: readonly Published[] = [
  { figure: "8/1 ready ms", upstream: [63, 63], limit: 63 },
  { figure: "64/4 ready ms", upstream: [436, 436], limit: 436 },
  { figure: "256/4 ready ms", upstream: [2743, 2743], limit: 2743 },
  { figure: "256/16 ready ms", upstream: [10_764, 10_764], limit: 10_764 / 50 },
  { figure: "1024/1 ready ms", upstream: [2505, 2505], limit: 2505 },
  { figure: "1024/16 ready ms", upstream: [47_037, 47_037], limit: 47_037 / 150 },
  ...allocate("8/1", [373, 1145], [656, 1915]),
  ...allocate("64/4", [276, 1241], [555, 2328]),
  ...allocate("256/4", [245, 1206], [628, 2343]),
  ...allocate("256/16", [328, 817], [624, 1459]),
  ...allocate("1024/1", [289, 768], [531, 1477]),
  ...allocate("1024/16", [316, 864], [568, 2410]),
  { figure: "256/4 4 callers calls/s", upstream: [5000, 5000], limit: 5000, atLeast: true },
  { figure: "256/4 idle PSS MiB", upstream: [35, 41], limit: 1.25 * 41 },
  { figure: "256/4 idle private MiB", upstream: [10, 16], limit: 16 },
  { figure: "1024/16 idle PSS MiB", upstream: [35, 41], limit: 1.25 * 41 },
  { figure: "1024/16 idle private MiB", upstream: [10, 16], limit: 16 },
  { figure: "64/4 RSS after load MiB", upstream: [122, 122], limit: 75 },
  { figure: "256/16 idle CPU ms/min", upstream: [2, 10], limit: 10 },
  { figure: "1024/16 idle CPU ms/min", upstream: [4, 22], limit: 40 },
  { figure: "1024/16 kubelet back to registered ms", upstream: [262, 4871], limit: 100 },
  { figure: "1024/16 SIGTERM to exit ms", upstream: [59_010, 59_010], limit: 100 },
  { figure: "256/16 SIGTERM to exit ms", upstream: [60_000, 60_000], limit: 100 },
  { figure: "1024/16 link loss ms", upstream: null, limit: 250 },
  { figure: "1024/16 late VF ms", upstream: null, limit: 2000 },
];
