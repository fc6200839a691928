// The scans of the node as the loop needs them: whatever drivers do, there is a scan to go by, and a stall is logged.

import type { OptionalFacts } from "../host/scan.ts";
import { type NodeScan, NodeScanner, type StalledScan } from "../host/scanner.ts";
import type { Log } from "../process/log.ts";
import type { Stale } from "./change-queue.ts";

/** Scans of one node. */
export class NodeScans {
  readonly #scanner: NodeScanner;
  readonly #log: Log;
  #wasStalled = false;

  /** `root` goes before every path of the node; `late` is called when a scan that had stalled returns. */
  constructor(root: string, late: () => void, log: Log) {
    this.#scanner = new NodeScanner(root, late);
    this.#log = log;
  }

  /** The scan that does not return now; null when there is none. */
  get stalled(): StalledScan | null {
    return this.#scanner.stalled;
  }

  /** Starts the thread, so that the first scan does not wait for it. */
  prepare(): void {
    this.#scanner.prepare();
  }

  /** Releases memory that is needed only while scans follow one another. */
  rest(): void {
    this.#scanner.rest();
  }

  /**
   * Scans what is stale; links are always scanned, functions when `isWhole`. Where drivers do not answer in time, the scan is the last one,
   * and `isFresh` false; throws when there is none.
   */
  async scan(
    facts: OptionalFacts,
    stale: ReadonlySet<Stale>,
    isWhole: boolean,
  ): Promise<{ readonly scan: NodeScan; readonly isFresh: boolean }> {
    const isLateAlone = !isWhole && !stale.has("links");
    const fresh = isLateAlone ? null : await this.#scanner.scan(facts, isWhole);
    const scan = fresh ?? this.#scanner.latest;
    const { stalled } = this.#scanner;
    this.#logStall(stalled);
    if (!scan) throw new Error(`a driver does not answer while ${stalled?.reading ?? "the node"} is read`);
    return { scan, isFresh: fresh !== null || isLateAlone };
  }

  close(): void {
    this.#scanner.close();
  }

  #logStall(stalled: StalledScan | null): void {
    if (stalled && !this.#wasStalled) {
      const { reading } = stalled;
      this.#log.error("node scan stalled: a driver does not answer; device lists stay as they are", { reading });
    }
    if (!stalled && this.#wasStalled) this.#log.info("node scans complete again");
    this.#wasStalled = stalled !== null;
  }
}
