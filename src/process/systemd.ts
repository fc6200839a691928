// What does systemd hear of us? Readiness, a status line, reloads, the end, and while we live a sign of life. Nothing at all
// where no service manager asks for it by NOTIFY_SOCKET.

import { monotonicMicroseconds, notify } from "../../native/notify.ts";
import { counted, messageOf } from "../text.ts";
import type { Log } from "./log.ts";

/** What is served: the numbers of the status line. */
export interface Offer {
  readonly pools: number;
  readonly devices: number;
  readonly unhealthy: number;
  /** Whether the config file is another one than that which runs, and can't be taken up. */
  readonly configRefused: boolean;
}

/** Where and how often the manager wants to hear of us. */
export interface Manager {
  readonly socket: string;
  /** Milliseconds without a sign of life after which it ends us; null when it doesn't watch. */
  readonly watchdog: number | null;
}

/** The manager that the environment names (sd_notify(3), sd_watchdog_enabled(3)); null when there is none. */
export function managerOf(environment: Readonly<Record<string, string | undefined>>, pid: number): Manager | null {
  const socket = environment["NOTIFY_SOCKET"];
  if (!socket) return null;
  // The variables may have been handed on by a parent that they were meant for.
  const meant = [undefined, String(pid)].includes(environment["WATCHDOG_PID"]);
  const microseconds = Number(environment["WATCHDOG_USEC"]);
  return { socket, watchdog: meant && microseconds > 0 ? microseconds / 1000 : null };
}

/** The status line: "3 pools, 24 devices, 2 of them unhealthy". */
export function statusLine({ pools, devices, unhealthy, configRefused }: Offer): string {
  const bad = unhealthy === 0 ? "" : `, ${unhealthy} of them unhealthy`;
  const refused = configRefused ? "; config rejected; the previous config stays active" : "";
  return `${counted(pools, "pool")}, ${counted(devices, "device")}${bad}${refused}`;
}

/** Tells the manager; a manager that can't be told costs one warning. */
export class ServiceNotices {
  readonly #manager: Manager | null;
  readonly #log: Log;
  readonly #watchdog: Timer | null;
  #ready = false;
  #status = "";
  #warned = false;
  #reloading = false;
  #reloadsWanted = false;

  /** `alive` says whether the plugin makes progress: while it doesn't, the watchdog's signs of life stay out. */
  constructor(manager: Manager | null, alive: () => boolean, log: Log) {
    this.#manager = manager;
    this.#log = log;
    const limit = manager?.watchdog ?? null;
    this.#watchdog = limit === null ? null : setInterval(() => alive() && this.#tell("WATCHDOG=1"), limit / 2);
  }

  /** Started as far as it goes without the kubelet: what waits for us need not wait longer. */
  waiting(): void {
    this.#isReady("waiting for the kubelet");
  }

  /** A scan of the node is done, and this is served. */
  serving(offer: Offer): void {
    this.#isReady(statusLine(offer));
  }

  /** A reload was requested; resolves when it is done, which `reload` tells. Requests that come meanwhile are one more reload. */
  async reloading(reload: () => Promise<void>): Promise<void> {
    this.#reloadsWanted = true;
    if (this.#reloading) return;
    this.#reloading = true;
    try {
      while (this.#reloadsWanted) {
        this.#reloadsWanted = false;
        if (this.#ready) this.#tell("RELOADING=1", `MONOTONIC_USEC=${monotonicMicroseconds()}`);
        await reload();
        if (this.#ready) this.#tell("READY=1");
      }
    } finally {
      this.#reloading = false;
    }
  }

  /** The end has begun. */
  close(): void {
    if (this.#watchdog) clearInterval(this.#watchdog);
    this.#tell("STOPPING=1", "STATUS=ending");
  }

  #isReady(status: string): void {
    const lines = [...(this.#ready ? [] : ["READY=1"]), ...(status === this.#status ? [] : [`STATUS=${status}`])];
    this.#ready = true;
    this.#status = status;
    if (lines.length > 0) this.#tell(...lines);
  }

  #tell(...lines: readonly string[]): void {
    if (!this.#manager) return;
    try {
      notify(this.#manager.socket, lines);
    } catch (error) {
      if (!this.#warned) this.#log.warn("cannot notify systemd", { reason: messageOf(error) });
      this.#warned = true;
    }
  }
}
