// Waits for a condition that gives a value, for machines that are slow: the emulated one, and the cluster around it. Fast tests use until.ts.

/** How a condition is waited for. */
export interface Waiting {
  /** Seconds until the wait fails. */
  readonly seconds: number;
  /** Milliseconds between tries, or as many as the condition takes if that is more: it must not keep from running what is waited for. */
  readonly pace: number;
  /** What to say beside it when the time is over. */
  readonly found?: () => unknown;
}

export type Truthy<T> = Exclude<T, false | null | undefined | 0 | "" | void>;

/** Waits until the condition returns something truthy, and returns that. A condition that throws is not fulfilled yet. */
export async function waitForValue<T>(
  what: string,
  condition: () => T | Promise<T>,
  { seconds, pace, found }: Waiting,
): Promise<Truthy<T>> {
  let lastError: unknown;
  for (const end = performance.now() + seconds * 1000; ;) {
    const started = performance.now();
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    const now = performance.now();
    if (now > end) {
      const sight = found ? `; found ${JSON.stringify(found())}` : "";
      throw new Error(`not within ${seconds} s: ${what}${sight}`, { cause: lastError });
    }
    await Bun.sleep(Math.max(pace, now - started));
  }
}
