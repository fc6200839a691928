// How does a test wait? For a condition, never for a time; the limit is there to fail, not to pass.

/** How many times longer than usual things may take: under an emulator of another processor, for instance. */
const patience = Number(process.env["SRIOVDP_PATIENCE"] ?? 1);

/** Waits until the condition holds; rejects after `within` milliseconds with what was waited for and the result of `found`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { within = 10_000, found }: { readonly within?: number; readonly found?: () => string } = {},
): Promise<void> {
  const limit = within * patience;
  const end = performance.now() + limit;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`waited ${limit} ms without success: ${what}${found ? `\nfound: ${found()}` : ""}`);
    }
    await Bun.sleep(4);
  }
}
