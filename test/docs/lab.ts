// How do the names that the pages use become those of the virtual machine? Pages name NICs that operators have; the lab
// has others of the same kind.

/** The machines on which blocks run: those of test/vm/guest/docs*.vm.ts, and the cluster of test/cluster/docs.test.ts. */
export const machineNames = ["with IOMMU", "without IOMMU", "with systemd", "cluster"] as const;
export type MachineName = (typeof machineNames)[number];

/** The PFs and VFs of the pages, and where they are in the lab. */
const places: readonly (readonly [inPages: string, inLab: string])[] = [
  ["0000:3b:00.0", "0000:41:00.0"],
  ["0000:03:00.0", "0000:41:00.0"],
  ["0000:86:00.0", "0000:81:00.0"],
  // igb puts every second function of its own bus between two VFs.
  ...[0, 1, 2, 3, 4, 5, 6].flatMap((index) => {
    const place = `1${index >> 2}.${(index % 4) * 2}`;
    return [
      [`0000:3b:01.${index}`, `0000:41:${place}`],
      [`0000:86:01.${index}`, `0000:81:${place}`],
    ] as const;
  }),
];

/** Drivers, ids, PCIe roots. */
const kinds: readonly (readonly [inPages: string, inLab: string])[] = [
  ["ice", "igb"],
  ["iavf", "igbvf"],
  ["159b", "10c9"],
  ["1889", "10ca"],
  ["pci0000:3a", "pci0000:40"],
  ["pci0000:85", "pci0000:80"],
];

const names: ReadonlyMap<string, string> = new Map([...places, ...kinds]);
const anyName = new RegExp(
  `(?<![\\w.])(?:${[...names.keys()].map((name) => name.replaceAll(".", "\\.")).join("|")})(?![\\w-])`,
  "g",
);

/** Neighbors as the program prints them: "0000:3b:01.0-01.3". */
const neighbors = /(0000:[0-9a-f]{2}:)(01\.\d)-(01\.\d)/g;

/** A command, a file or an expected output of a page, with the lab's names in it. */
export const toLab = (text: string): string =>
  text
    .replace(neighbors, (_, bus, from, to) => `${toLab(bus + from)}-${toLab(bus + to).slice(bus.length)}`)
    .replace(anyName, (name) => names.get(name) ?? name);

/** Interface names need no exchange: the lab gives its interfaces those of the pages. */
export const interfaceNames = { pf0: "ens1f0", pf1: "ens2f0" } as const;

/**
 * Whether a block printed what its page says: "…" matches anything within a line, and alone in
 * a line for any lines; the width of columns may differ, since names do.
 */
export function printsAsSaid(printed: string, said: string): boolean {
  const pattern = said
    .trim()
    .split("\n")
    .map((line) => line.trim())
    .map((line) =>
      line === "…"
        ? "(?:.*\\n)*?"
        : `${line
            .split(/(\s*…|\s+)/)
            .map(piece)
            .join("")}\\n`,
    )
    .join("");
  const lines = printed
    .trim()
    .split("\n")
    .map((line) => `${line.trim().replaceAll(/\s+/g, " ")}\n`);
  return new RegExp(`^${pattern}$`).test(lines.join(""));
}

const piece = (part: string): string =>
  part.endsWith("…") ? ".*" : /^\s+$/.test(part) ? " " : part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
