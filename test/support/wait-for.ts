// Waits for a condition that gives a value, for machines that are slow: the emulated one, and the cluster around it. Fast tests use until.ts.

/** How a condition is waited for. */
export interface Waiting {
  /** Seconds until the wait fails. */
  readonly seconds: number;
  /** Milliseconds between tries. */
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
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() > end) {
      const sight = found ? `; found ${JSON.stringify(found())}` : "";
      throw new Error(`not within ${seconds} s: ${what}${sight}`, { cause: lastError });
    }
    await Bun.sleep(pace);
  }
}
