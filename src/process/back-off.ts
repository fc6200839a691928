// When to try again? Waits that grow from one try to the next, with jitter so that a fleet does not try in step.

/** Waits of `first` milliseconds, doubled at every call up to `most`; each made up to a quarter longer by chance. */
export class BackOff {
  readonly #first: number;
  readonly #most: number;
  #next: number;

  constructor(first: number, most: number) {
    this.#first = first;
    this.#most = most;
    this.#next = first;
  }

  /** The next wait, in milliseconds. */
  wait(): number {
    const wait = this.#next;
    this.#next = Math.min(this.#most, wait * 2);
    return wait * (1 + Math.random() / 4);
  }

  reset(): void {
    this.#next = this.#first;
  }
}
