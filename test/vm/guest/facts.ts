// What does the executable say of this node? For tests that hold it against what the kernel's own tools say.
import { readFileSync } from "node:fs";
import type { Device } from "../../../src/host/device.ts";
import { attempt, executable, sh, waitFor, writeFiles } from "./support.ts";

/** A device as `discover --json` prints it */
export interface Found extends Device {
  readonly pool: string | null;
}

const folder = "/tmp/facts";

/** A config file with these entries. Returns its path. */
export function configFile(...resourceList: readonly object[]): string {
  const name = `${Bun.hash(JSON.stringify(resourceList)).toString(36)}.json`;
  writeFiles(folder, { [name]: JSON.stringify({ resourceList }) });
  return `${folder}/${name}`;
}

/** One pool per device type, each of which selects everything. */
export const wantsEverything = configFile(
  { resourceName: "functions", selectors: [{}] },
  { resourceName: "subfunctions", deviceType: "auxNetDevice", selectors: [{ auxTypes: ["sf"] }] },
);

export async function discover(config = wantsEverything, options = ""): Promise<ReadonlyMap<string, Found>> {
  const text = await sh(`${executable} discover --json --config-file ${config} ${options}`);
  return new Map((JSON.parse(text) as Found[]).map((device) => [device.id, device]));
}

/** One device of the node; throws when it is not found. */
export async function discovered(id: string, config = wantsEverything): Promise<Found> {
  const device = (await discover(config)).get(id);
  if (!device) throw new Error(`${id} is not discovered`);
  return device;
}

/** What `explain --json` prints of one device and one pool */
interface Verdict {
  readonly outcome: string;
  readonly reasons: readonly string[];
}

/** What the first pool of the config file says of a device. */
export async function verdictOn(id: string, config = wantsEverything): Promise<Verdict> {
  const text = await sh(`${executable} explain --json --config-file ${config} ${id}`);
  const { devices } = JSON.parse(text) as { devices: { verdicts: Verdict[] }[] };
  const [{ verdicts: [verdict] = [] } = {}] = devices;
  if (!verdict) throw new Error(`no verdict on ${id}: ${text}`);
  return verdict;
}

/** Discovers until the device is as expected: the kernel may report a change after the command that caused it returned. */
export const discoveredAs = (what: string, id: string, condition: (device: Found) => unknown): Promise<Found> =>
  waitFor(what, async () => {
    const device = await discovered(id);
    return condition(device) ? device : null;
  });

const CAP_NET_ADMIN = 12;

/** Runs a command as root without CAP_NET_ADMIN, as in a container that was not given it. Returns its standard output. */
export async function withoutNetAdmin(command: string): Promise<string> {
  // PR_CAPBSET_DROP: what is not in the bounding set is not regained by exec (capabilities(7)).
  const program = `
    import { dlopen } from "bun:ffi";
    const { prctl } = dlopen("libc.so.6", { prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } }).symbols;
    if (prctl(24, ${CAP_NET_ADMIN}, 0, 0, 0) !== 0) throw new Error("prctl failed");
    const { BUN_BE_BUN: _, ...env } = process.env;
    const { exitCode } = Bun.spawnSync(["/usr/bin/dash", "-euc", process.argv.at(-1)], { env, stdio: ["ignore", "inherit", "inherit"] });
    process.exit(exitCode);`;
  writeFiles(folder, { "without-net-admin.ts": program });
  const { status, stdout, stderr } = await attempt(
    `BUN_BE_BUN=1 exec ${executable} ${folder}/without-net-admin.ts '${command}'`,
  );
  if (status !== 0) throw new Error(`${command}: status ${status}: ${stderr}`);
  return stdout;
}

export const kernelVersion = (): string => readFileSync("/proc/sys/kernel/osrelease", "utf8").trim();
