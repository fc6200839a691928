// Waiting for something that may never happen.

/** Resolves when the promise is settled, well or not, and after this many milliseconds in any case. */
export function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const settled = () => {
    clearTimeout(timer);
    resolve();
  };
  promise.then(settled, settled);
  return over;
}
