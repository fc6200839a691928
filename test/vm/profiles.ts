// How a guest test file says which machine it needs, and which files share a boot.
// A line near its top: `// boot: disk=node memory=3072`; without the line, or for what it leaves out, the defaults hold.

/** Releases of containerd that the lab has: Debian's 1.7, and 2 built from source. */
export const containerdReleases = ["1.7", "2"] as const;

export interface Profile {
  /** numa: each PF on a NUMA node of its own; flat: no NUMA at all, so that numa_node reads -1 */
  readonly topology: "numa" | "flat";
  readonly iommu: "on" | "off";
  /** MiB */
  readonly memory: number;
  /** node: the root disk with kubelet and containerd, instead of the initramfs alone */
  readonly disk: "none" | "node";
  /** what the root disk has */
  readonly containerd: (typeof containerdReleases)[number];
  /** process 1 of the guest: the lab's own script, or systemd */
  readonly init: "lab" | "systemd";
  /** seconds that one test file may take in the guest */
  readonly limit: number;
  /** yes: no other file in the same boot */
  readonly alone: "yes" | "no";
  /** image: the container image of the executable is in the payload, as image.tar */
  readonly needs: "nothing" | "image";
}

export const defaults: Profile = {
  topology: "numa",
  iommu: "on",
  memory: 2048,
  disk: "none",
  containerd: "1.7",
  init: "lab",
  limit: 120,
  alone: "no",
  needs: "nothing",
};

export interface GuestTest {
  /** base name without .vm.ts */
  readonly name: string;
  readonly path: string;
  readonly profile: Profile;
  /** names of its tests as far as they can be read from the source: what to count when the file can't be run */
  readonly tests: readonly string[];
}

export interface Boot {
  readonly name: string;
  readonly profile: Profile;
  readonly tests: readonly GuestTest[];
}

const choices: { readonly [key in keyof Profile]: readonly string[] | "number" } = {
  topology: ["numa", "flat"],
  iommu: ["on", "off"],
  memory: "number",
  disk: ["none", "node"],
  containerd: containerdReleases,
  init: ["lab", "systemd"],
  limit: "number",
  alone: ["yes", "no"],
  needs: ["nothing", "image"],
};

const machineKeys = ["topology", "iommu", "memory", "disk", "containerd", "init"] as const satisfies (keyof Profile)[];

export function parseProfile(source: string): Profile {
  const line = source.match(/^\/\/ boot:(.*)$/m)?.[1] ?? "";
  const profile: Record<string, string | number> = { ...defaults };
  for (const word of line.split(/\s+/).filter(Boolean)) {
    const [key = "", value = ""] = word.split("=");
    if (!(key in choices)) throw new Error(`boot profile: unknown key "${key}"`);
    const choice = choices[key as keyof Profile];
    if (choice === "number") {
      if (!/^[1-9][0-9]*$/.test(value)) throw new Error(`boot profile: ${key} is a number, not "${value}"`);
      profile[key] = Number(value);
    } else {
      if (!choice.includes(value))
        throw new Error(`boot profile: ${key} is one of ${choice.join(", ")}, not "${value}"`);
      profile[key] = value;
    }
  }
  return profile as unknown as Profile;
}

export function testNames(source: string): string[] {
  const calls = source.matchAll(/^[ \t]*(?:test|it)(?:\.\w+(?:\([^\n]*?\))?)*\(\s*(["'`])((?:\\.|(?!\1).)*)\1/gms);
  return [...calls].map(([, , name = ""]) => name.replace(/\\(.)/g, "$1"));
}

/** Files that ask for the same machine share its boot; the limits add up, so they don't keep files apart. */
export function planBoots(tests: readonly GuestTest[]): Boot[] {
  const groups = Map.groupBy(tests, ({ name, profile }) =>
    JSON.stringify([machineKeys.map((key) => profile[key]), profile.alone === "yes" ? name : null]),
  );
  return [...groups.values()].map((tests) => {
    const [first] = tests as [GuestTest];
    return { name: tests.length === 1 ? first.name : bootName(first.profile), profile: first.profile, tests };
  });
}

function bootName(profile: Profile): string {
  const differing = machineKeys.filter((key) => profile[key] !== defaults[key]).map((key) => `${key}-${profile[key]}`);
  return ["boot", ...differing].join("-");
}
