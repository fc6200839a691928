// How does a test wait? For a condition, never for a time; the limit is there to fail, not to pass.

/** Waits until the condition holds; rejects after `within` milliseconds with what was waited for and what `found` tells. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { within = 10_000, found }: { readonly within?: number; readonly found?: () => string } = {},
): Promise<void> {
  const end = performance.now() + within;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`waited ${within} ms in vain: ${what}${found ? `\nfound: ${found()}` : ""}`);
    }
    await Bun.sleep(4);
  }
}
