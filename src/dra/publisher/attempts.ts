// What fails now, and when is it retried? One problem a step: the first of a kind is logged as an error, repeats at debug level, and
// the end of all problems as info.

import { KubeError } from "../../kube/errors.ts";
import { BackOff } from "../../process/back-off.ts";
import type { LogAt } from "../../process/log-messages.ts";
import { messageOf } from "../../text.ts";
import { publishingProblem, type PublishingStep } from "../publishing-problem.ts";

interface Problem {
  readonly kind: string;
  readonly sentence: string;
}

/** The attempts of one publisher. */
export class Attempts {
  readonly #times: { readonly firstAttempt: number; readonly longestAttempt: number };
  readonly #log: LogAt<"debug" | "info" | "error">;
  readonly #problems = new Map<string, Problem>();
  readonly #waits = new Map<string, { readonly backOff: BackOff; retryAt: number }>();

  constructor(
    times: { readonly firstAttempt: number; readonly longestAttempt: number },
    log: LogAt<"debug" | "info" | "error">,
  ) {
    this.#times = times;
    this.#log = log;
  }

  /** The newest problem; null when there is none. */
  get problem(): string | null {
    return [...this.#problems.values()].at(-1)?.sentence ?? null;
  }

  /** Notes that something failed, by any name; it is tried again in `wait` milliseconds. `step` is null for an error of our own. */
  fail(about: string, step: PublishingStep | null, error: unknown, wait: number): void {
    if (error instanceof KubeError && error.kind === "aborted") return;
    const kind = error instanceof KubeError ? error.kind : "unexpected";
    const reason = step && error instanceof KubeError ? publishingProblem(step, error) : messageOf(error);
    const isKnown = [...this.#problems.values()].some((problem) => problem.kind === kind);
    this.#problems.delete(about);
    this.#problems.set(about, { kind, sentence: reason });
    const seconds = Math.round(wait / 100) / 10;
    this.#log[isKnown ? "debug" : "error"]("cannot publish ResourceSlices; retrying", { reason, seconds });
  }

  /** Notes that something works, or is not needed any more. */
  succeed(about: string): void {
    this.#waits.delete(about);
    if (this.#problems.delete(about) && this.#problems.size === 0)
      this.#log.info("ResourceSlices can be published again");
  }

  /** Keeps only the problems of these. */
  keep(isOpen: (about: string) => boolean): void {
    for (const about of this.#problems.keys()) if (!isOpen(about)) this.succeed(about);
  }

  /** Tries a step, unless it failed and waits: gives its value, else null and when to try again, by performance.now(). */
  async try<T>(
    step: PublishingStep,
    action: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly retryAt: null } | { readonly value: null; readonly retryAt: number }> {
    const { firstAttempt, longestAttempt } = this.#times;
    const wait = this.#waits.get(step) ?? { backOff: new BackOff(firstAttempt, longestAttempt), retryAt: 0 };
    if (performance.now() < wait.retryAt) return { value: null, retryAt: wait.retryAt };
    try {
      const value = await action();
      this.succeed(step);
      return { value, retryAt: null };
    } catch (error) {
      const retryAfter = error instanceof KubeError ? (error.retryAfter ?? 0) : 0;
      const milliseconds = Math.max(wait.backOff.wait(), retryAfter);
      wait.retryAt = performance.now() + milliseconds;
      this.#waits.set(step, wait);
      this.fail(step, step, error, milliseconds);
      return { value: null, retryAt: wait.retryAt };
    }
  }
}
