// How does a test run the compiled executable? On an unpacked tree with a kubelet double beside it; everything that was
// started is ended and removed again, whatever happens to the test.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { KubeletDouble } from "./kubelet.ts";
import type { RegistrationMode } from "./kubelet-view.ts";
import { undocumented } from "./log-lines.ts";
import { type Entry, parse, unpack } from "./tree.ts";
import { type Ended, runProgram } from "./run-program.ts";
import { until } from "./until.ts";

/** The executable under test; SRIOVDP names another one than the build's. */
export const executable = process.env["SRIOVDP"] ?? `${import.meta.dir}/../../dist/sriovdp`;

/** The test runner's own variables would change what the executable is. */
const environment = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };

const running = new Set<Plugin>();
const folders = new Set<string>();
process.on("exit", () => {
  for (const plugin of running) plugin.kill();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

const memory = "/dev/shm";

/** Whether there is room for a tree of some thousand functions in memory. */
const hasMemory = existsSync(memory) && statfsSync(memory).bavail * statfsSync(memory).bsize > 512 << 20;

/**
 * A new temporary folder, its name short: a socket's path can't be longer than 107 bytes.
 *
 * By default where the machine has such folders, or TMPDIR says; large trees are made and removed faster in memory.
 */
export function temporaryFolder({ inMemory = false } = {}): string {
  const folder = mkdtempSync(`${inMemory && hasMemory ? memory : tmpdir()}/n-`);
  folders.add(folder);
  return folder;
}

export function removeTemporaryFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  folders.delete(folder);
}

/** Reads a fixture of test/hosts by its name. */
export function host(name: string): Entry[] {
  return parse(readFileSync(`${import.meta.dir}/../hosts/${name}.host`, "utf8"));
}

/** The names of all fixtures. */
export const hostNames = (): string[] =>
  readdirSync(`${import.meta.dir}/../hosts`)
    .flatMap((name) => (name.endsWith(".host") ? [name.slice(0, -5)] : []))
    .sort();

/** A running executable. */
export class Plugin {
  /** What it wrote to standard error so far. */
  readonly lines: string[] = [];
  readonly #process: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly #read: Promise<void>;

  /** `under` is a program that starts the executable under other circumstances, as setpriv does. */
  constructor(args: readonly string[], under: readonly string[] = [], program = executable) {
    this.#process = Bun.spawn([...under, program, ...args], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
      env: environment,
    });
    running.add(this);
    void this.#process.exited.then(() => running.delete(this));
    this.#read = this.#collect();
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** The exit status; null while it runs or when a signal ended it. */
  get status(): number | null {
    return this.#process.exitCode;
  }

  get isRunning(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  get log(): string {
    return this.lines.join("\n");
  }

  /** Waits for a line of standard error, from line `from` on; rejects at once when the process has ended without it. */
  async waitForLine(pattern: RegExp, from = 0): Promise<string> {
    const find = () => this.lines.slice(from).find((line) => pattern.test(line));
    await until(`the plugin says ${pattern}`, () => find() !== undefined || !this.isRunning, { found: () => this.log });
    await (this.isRunning ? undefined : this.#read);
    const line = find();
    if (line === undefined) throw new Error(`the plugin ended without saying ${pattern}\n${this.log}`);
    return line;
  }

  /** Waits until the first scan of the node is done and every pool has its server. */
  waitUntilReady(): Promise<string> {
    return this.waitForLine(/ INFO {2}ready /);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Waits for the end; returns the exit status, or the signal's name when one ended it. */
  async ended(): Promise<number | string> {
    await until("the plugin ends", () => !this.isRunning, { found: () => this.log });
    await this.#read;
    return this.#process.exitCode ?? this.#process.signalCode ?? "unknown";
  }

  /** Ends it as its users do; returns the exit status. */
  stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> {
    if (this.isRunning) this.signal(signal);
    return this.ended();
  }

  /** Ends it at once and without its knowing, as the kernel does when memory is short. */
  kill(): void {
    if (this.isRunning) this.#process.kill("SIGKILL");
  }

  async #collect(): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of this.#process.stderr) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
    }
    if (rest !== "") this.lines.push(rest);
  }
}

/** Runs a command of the executable to its end. */
export function runCommand(args: readonly string[]): { status: number; stdout: string; stderr: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([executable, ...args], {
    stdin: "ignore",
    env: environment,
    timeout: 20_000,
  });
  return { status: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

/** What a node is made of. */
export interface NodeOptions {
  readonly entries: Iterable<Entry>;
  /** The config file: a text as it is, or a value written as JSON; null for no file. */
  readonly config: unknown;
  readonly mode?: RegistrationMode;
  /** For a tree of thousands of functions. */
  readonly inMemory?: boolean;
}

/** A node in a temporary folder: its tree, its kubelet and its plugin. */
export class TestNode {
  readonly root: string;
  readonly kubelet: KubeletDouble;
  readonly configFile: string;
  readonly deviceInfoFolder: string;
  readonly cdiFolder: string;
  readonly #plugins: Plugin[] = [];

  constructor({ entries, config, mode = "watcher", inMemory = false }: NodeOptions) {
    this.root = temporaryFolder({ inMemory });
    this.configFile = `${this.root}/etc/pcidp/config.json`;
    this.deviceInfoFolder = `${this.root}/var/run/k8s.cni.cncf.io/devinfo/dp`;
    this.cdiFolder = `${this.root}/var/run/cdi`;
    unpack(entries, this.root);
    this.kubelet = new KubeletDouble(`${this.root}/var/lib/kubelet`, mode, `${this.root}/sys/fs/cgroup`);
    if (config !== null) this.configure(config);
  }

  /** The plugin that was started last. */
  get plugin(): Plugin {
    const plugin = this.#plugins.at(-1);
    if (!plugin) throw new Error("no plugin was started");
    return plugin;
  }

  configure(config: unknown): void {
    mkdirSync(dirname(this.configFile), { recursive: true });
    writeFileSync(this.configFile, typeof config === "string" ? config : JSON.stringify(config, null, 2));
  }

  startPlugin(...args: readonly string[]): Plugin {
    return this.startPluginUnder([], ...args);
  }

  /** Starts the plugin through another program. */
  startPluginUnder(under: readonly string[], ...args: readonly string[]): Plugin {
    this.#plugins.push(new Plugin(["--root", this.root, ...args], under));
    return this.plugin;
  }

  /** Starts a plugin other than the one under test, through another program. */
  startOther(under: readonly string[], [program = "", ...args]: readonly string[]): Plugin {
    this.#plugins.push(new Plugin(args, under, program));
    return this.plugin;
  }

  /** Starts kubelet and plugin, and waits until the kubelet has a list of each of these resources. */
  async start(resources: readonly string[], ...args: readonly string[]): Promise<void> {
    await this.kubelet.start();
    this.startPlugin(...args);
    await this.listed(...resources);
  }

  /** Waits until the plugin is ready and the kubelet listens to these resources, and has a list of each. */
  async listed(...resources: readonly string[]): Promise<void> {
    await this.plugin.waitUntilReady();
    for (const resource of resources) {
      await until(
        `the kubelet has a list of ${resource}`,
        () => this.kubelet.resource(resource).connected && this.kubelet.resource(resource).lists > 0,
        { found: () => `${this.kubelet.transcript()}\n${this.plugin.log}` },
      );
    }
  }

  /** Runs a command of the executable on this node to its end, while the test's own servers go on. */
  command(...args: readonly string[]): Promise<Ended> {
    return runProgram([executable, ...args, "--root", this.root], { env: {} });
  }

  /** The names in a folder, sorted; none when it is missing. */
  names(folder: string): string[] {
    return existsSync(folder) ? readdirSync(folder).toSorted() : [];
  }

  /** The sockets of plugins that are there: names in both folders of the kubelet but its own. */
  pluginSockets(): string[] {
    return [...this.names(this.kubelet.devicePlugins), ...this.names(this.kubelet.registry)].filter(
      (name) => name !== "kubelet.sock" && name !== "kubelet_internal_checkpoint",
    );
  }

  async close(): Promise<void> {
    for (const plugin of this.#plugins) plugin.kill();
    await Promise.all(this.#plugins.map((plugin) => plugin.ended()));
    this.kubelet.stop();
    removeTemporaryFolder(this.root);
    const problems = this.#plugins.flatMap((plugin) => plugin.lines.map(undocumented)).filter((each) => each !== null);
    if (problems.length > 0) throw new Error(`lines that docs/reference/logs.md lacks:\n${problems.join("\n")}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
