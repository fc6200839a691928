// The config that the plugin runs with: the file is read again whenever it may have changed, and a bad one leaves the previous config active.

import { basename } from "node:path";
import { readConfigFile } from "../config/file.ts";
import type { LoadOptions } from "../config/load.ts";
import { formatProblem, type Problem } from "../config/problem.ts";
import type { PoolSpec } from "../pools/pool.ts";
import type { Log } from "../process/log.ts";
import { type Journal, noteConfig } from "../telemetry/journal.ts";

/** The config file is rejected at the start; the problems have the reasons. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    super(`${file} was rejected`);
    this.problems = problems;
  }
}

/** Which file is read, and what holds for all its entries. */
export interface RunningConfigOptions extends LoadOptions {
  readonly file: string;
  readonly linkHealth: boolean;
}

/** The config of the running plugin. */
export class RunningConfig {
  readonly #options: RunningConfigOptions;
  readonly #journal: Journal;
  readonly #log: Log;
  #text: string | null = null;
  #specs: readonly PoolSpec[] = [];

  constructor(options: RunningConfigOptions, journal: Journal, log: Log) {
    this.#options = options;
    this.#journal = journal;
    this.#log = log;
  }

  /** The pools that the active config describes. */
  get specs(): readonly PoolSpec[] {
    return this.#specs;
  }

  /** The file is loaded at the next load(), whether it changed or not. */
  forget(): void {
    this.#text = null;
  }

  /** Loads the file at the start. Throws ConfigError when it is rejected. */
  loadFirst(): void {
    const { file } = this.#options;
    const loaded = readConfigFile(file, this.#options);
    this.#text = loaded.text;
    if (!loaded.specs) throw new ConfigError(file, loaded.problems);
    this.#activate(loaded.specs, loaded.problems);
  }

  /**
   * Loads the file if it changed; returns whether there is another config now. A rejected file leaves the config as it is, and so does one
   * that skips the entry of a resource that is served.
   */
  load(served: { has(resource: string): boolean }): boolean {
    const { file } = this.#options;
    const loaded = readConfigFile(file, this.#options);
    if (loaded.text !== null && loaded.text === this.#text) return false;
    // null of a file that could not be read: what is there next is loaded, also when it is what it was before.
    this.#text = loaded.text;
    if (loaded.specs && !loaded.skipped.some((resource) => served.has(resource))) {
      this.#activate(loaded.specs, loaded.problems);
      return true;
    }
    for (const problem of loaded.problems) this.#log.error(formatProblem(file, problem));
    noteConfig(this.#journal, false, loaded.problems);
    const problems = loaded.problems.length;
    this.#log.error("config rejected; the previous config stays active", { file: basename(file), problems });
    return false;
  }

  #activate(specs: readonly PoolSpec[], problems: readonly Problem[]): void {
    const { file, linkHealth } = this.#options;
    for (const problem of problems) this.#log.warn(formatProblem(file, problem));
    noteConfig(this.#journal, true, problems);
    this.#specs = specs.map((spec) => ({ ...spec, linkHealth: spec.linkHealth && linkHealth }));
    this.#log.info("config loaded", { file, pools: specs.length });
  }
}
