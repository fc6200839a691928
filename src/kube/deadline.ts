// Until when does a request wait? A signal that ends with the caller's, or when nothing came for too long.

/** Ends its signal with `outer`, or when the time that was last given to it is over. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #end = () => this.#controller.abort();
  #timer: Timer | null = null;
  #isOver = false;

  /** `milliseconds` count from now. */
  constructor(outer: AbortSignal, milliseconds: number) {
    this.#outer = outer;
    if (outer.aborted) this.#end();
    // By hand: a signal of AbortSignal.any stays referenced by a signal that lives as long as the plugin.
    else outer.addEventListener("abort", this.#end);
    this.extend(milliseconds);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Whether the time ran out, and not the outer signal. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Gives this many milliseconds from now. */
  extend(milliseconds: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#end();
    }, milliseconds);
  }

  /** Ends the signal, and with it the connection of a request that is not over. */
  close(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#end);
    this.#end();
  }
}
