// When is the next attempt to register? One timer a pool, and waits that grow while attempts fail.

import { BackOff } from "../process/back-off.ts";
import type { Wait } from "./registration.ts";

/** The wait after a registration failed or the stream ended, in milliseconds: first, and at most. */
const retry = { first: 1000, most: 30_000 } as const;

/**
 * How long a kubelet that can know of the socket may take to open the stream, in milliseconds: first, and at most. Its
 * plugin manager scans once a second, and a socket that reappears while it registers would only make it start over.
 */
const patience = { first: 10_000, most: 60_000 } as const;

/** How often it is checked whether the instance that serves the pool in our place still listens, in milliseconds. */
const standbyInterval = 2000;

/**
 * How long after the kubelet closed its connection the pool is registered again, in milliseconds: the kubelet marks the resource after that
 * (kubernetes pkg/kubelet/cm/devicemanager/plugin/v1beta1/client.go Disconnect).
 */
export const marking = 50;

/** The timer of a pool's next attempt. */
export class AttemptTimer {
  readonly #due: () => void;
  readonly #backOff = new BackOff(retry.first, retry.most);
  readonly #patience = new BackOff(patience.first, patience.most);
  #timer: Timer | null = null;

  /** `due` is called when a wait is over. */
  constructor(due: () => void) {
    this.#due = due;
  }

  /** Waits from now on, in place of what was waited for before. */
  set(wait: Wait | "nothing"): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    if (wait === "nothing") return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#due();
    }, this.#delayOf(wait));
  }

  /** Something changed for the better: the next attempt that fails is followed by a short wait. */
  resetBackOff(): void {
    this.#backOff.reset();
  }

  /** The kubelet has connected: all waits are short again. */
  reset(): void {
    this.#backOff.reset();
    this.#patience.reset();
  }

  #delayOf(wait: Wait): number {
    switch (wait) {
      case "backOff":
        return this.#backOff.wait();
      case "patience":
        return this.#patience.wait();
      case "standby":
        return standbyInterval;
      case "marking":
        return marking;
    }
  }
}
