// A kubelet that is missing for long deserves one warning, whatever the number of pools that wait for it.

/** How long the kubelet may be missing before a warning, in milliseconds: a restart takes less. */
const grace = 10_000;

/** Warns once when the kubelet is missing for 10 s. */
export class KubeletAbsence {
  readonly #warn: (what: string) => void;
  #timer: Timer | null = null;

  /** `warn` is called with the path that is missing. */
  constructor(warn: (what: string) => void) {
    this.#warn = warn;
  }

  /** A path of the kubelet's is missing. */
  missing(path: string): void {
    this.#timer ??= setTimeout(() => this.#warn(path), grace).unref();
  }

  /** The kubelet is there. */
  present(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

const absences = new WeakMap<object, KubeletAbsence>();

/** The one for all pools of a kubelet, which is known by its paths object; the first caller's `warn` is used. */
export function absenceOf(kubelet: object, warn: (what: string) => void): KubeletAbsence {
  const absence = absences.get(kubelet) ?? new KubeletAbsence(warn);
  absences.set(kubelet, absence);
  return absence;
}
