// How does a pool stand with the kubelet? Kept by its server, told in status and metrics.

/**
 * "waiting": the kubelet is not there, or went. "announced": the
 * kubelet was told, and does not listen yet. "listening": it does. "refused": it said no, or did not answer. "failed":
 * the pool's own socket could not be made. "standing by": another instance serves the pool.
 */
export type RegistrationState = "waiting" | "announced" | "listening" | "refused" | "failed" | "standing by";

/** How a pool stands. Times are milliseconds since 1970. */
export interface Registration {
  readonly state: RegistrationState;
  /** Why it is so; null when there is nothing to say. */
  readonly reason: string | null;
  readonly since: number;
  /** Since the start: registrations that the kubelet confirmed, those that failed, and when the last one was confirmed. */
  readonly registrations: number;
  readonly failures: number;
  readonly lastAt: number | null;
  /** Open ListAndWatch streams. */
  readonly streams: number;
}
