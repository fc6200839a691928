// Notifies systemd: readiness, a status line, reloads, the end, and the watchdog. Nothing at all
// where no service manager sets NOTIFY_SOCKET.

import { monotonicMicroseconds, notify } from "../../native/notify.ts";
import { counted, messageOf } from "../text.ts";
import type { Log } from "./log.ts";

/** What is served: the numbers of the status line. */
export interface Offer {
  readonly pools: number;
  readonly devices: number;
  readonly unhealthy: number;
  /** Whether the config file was rejected, and the previous config is active. */
  readonly configRejected: boolean;
}

/** Where and how often the manager is notified. */
export interface Manager {
  readonly socket: string;
  /** Milliseconds without a watchdog notification after which it ends the service; null without watchdog. */
  readonly watchdog: number | null;
}

/** The manager that the environment names (sd_notify(3), sd_watchdog_enabled(3)); null when there is none. */
export function managerOf(environment: Readonly<Record<string, string | undefined>>, pid: number): Manager | null {
  const socket = environment["NOTIFY_SOCKET"];
  if (!socket) return null;
  // The variables may be inherited from a parent that they were meant for.
  const meant = [undefined, String(pid)].includes(environment["WATCHDOG_PID"]);
  const microseconds = Number(environment["WATCHDOG_USEC"]);
  return { socket, watchdog: meant && microseconds > 0 ? microseconds / 1000 : null };
}

/** The status line: "3 pools, 24 devices, 2 of them unhealthy". */
export function statusLine({ pools, devices, unhealthy, configRejected }: Offer): string {
  const bad = unhealthy === 0 ? "" : `, ${unhealthy} of them unhealthy`;
  const refused = configRejected ? "; config rejected; the previous config stays active" : "";
  return `${counted(pools, "pool")}, ${counted(devices, "device")}${bad}${refused}`;
}

/** Notifies the manager; one that can't be notified costs one warning. */
export class ServiceNotices {
  readonly #manager: Manager | null;
  readonly #log: Log;
  readonly #watchdog: Timer | null;
  #ready = false;
  #status = "";
  #warned = false;
  #reloading = false;
  #isReloadRequested = false;

  /** `alive` is whether the plugin makes progress: while it does not, the watchdog is not notified. */
  constructor(manager: Manager | null, alive: () => boolean, log: Log) {
    this.#manager = manager;
    this.#log = log;
    const limit = manager?.watchdog ?? null;
    this.#watchdog = limit === null ? null : setInterval(() => alive() && this.#notify("WATCHDOG=1"), limit / 2);
  }

  /** Started as far as possible without the kubelet: units ordered after this one need not wait longer. */
  waiting(): void {
    this.#isReady("waiting for the kubelet");
  }

  /** A scan of the node is done, and this is served. */
  serving(offer: Offer): void {
    this.#isReady(statusLine(offer));
  }

  /** A reload was requested; resolves when `reload` has. Requests that come meanwhile are one more reload. */
  async reloading(reload: () => Promise<void>): Promise<void> {
    this.#isReloadRequested = true;
    if (this.#reloading) return;
    this.#reloading = true;
    try {
      while (this.#isReloadRequested) {
        this.#isReloadRequested = false;
        if (this.#ready) this.#notify("RELOADING=1", `MONOTONIC_USEC=${monotonicMicroseconds()}`);
        await reload();
        if (this.#ready) this.#notify("READY=1");
      }
    } finally {
      this.#reloading = false;
    }
  }

  /** The end has begun. */
  close(): void {
    if (this.#watchdog) clearInterval(this.#watchdog);
    this.#notify("STOPPING=1", "STATUS=ending");
  }

  #isReady(status: string): void {
    const lines = [...(this.#ready ? [] : ["READY=1"]), ...(status === this.#status ? [] : [`STATUS=${status}`])];
    this.#ready = true;
    this.#status = status;
    if (lines.length > 0) this.#notify(...lines);
  }

  #notify(...lines: readonly string[]): void {
    if (!this.#manager) return;
    try {
      notify(this.#manager.socket, lines);
    } catch (error) {
      if (!this.#warned) this.#log.warn("cannot notify systemd", { reason: messageOf(error) });
      this.#warned = true;
    }
  }
}
