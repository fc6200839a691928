// Does the API server keep taints of devices? Checked when the first device needs one, before that device is published.

import type { Access } from "../../kube/access.ts";
import type { LogAt } from "../../process/log-messages.ts";
import type { ResourceSlice } from "../resource-slice.ts";
import type { SliceContext } from "../slices.ts";
import { dropsTaints, isTainted } from "../taint-support.ts";
import type { Attempts } from "./attempts.ts";
import { keepsTaints } from "./slice-requests.ts";

/** What is known of the API server's support of taints. */
export class DeviceTaints {
  readonly #attempts: Attempts;
  readonly #log: LogAt<"warn">;
  #isKept: boolean | null = null;
  /** Whether an API server that drops taints may have been replaced. */
  #isStale = false;
  #isReached = false;

  constructor(attempts: Attempts, log: LogAt<"warn">) {
    this.#attempts = attempts;
    this.#log = log;
  }

  /** Whether the API server keeps taints; null: that was not needed yet. */
  get isKept(): boolean | null {
    return this.#isKept;
  }

  /** Takes slices of ours that the API server has. */
  see(found: readonly ResourceSlice[]): void {
    if (this.#isKept === null && found.some(isTainted)) this.#isKept = true;
  }

  /** A watch began: after the first one, perhaps at an API server of another release. */
  reach(): void {
    this.#isStale = this.#isReached;
    this.#isReached = true;
  }

  /** Takes the answer to a write. */
  answered(sent: ResourceSlice, received: ResourceSlice): void {
    if (dropsTaints(sent, received)) this.#set(false);
  }

  /** Finds out whether taints are kept, unless that is known; gives when to try again, null when it need not be. */
  async learn(
    access: Access,
    context: Pick<SliceContext, "driver" | "node">,
    signal: AbortSignal,
  ): Promise<number | null> {
    if (this.#isKept === true || (this.#isKept === false && !this.#isStale)) {
      // It may have become known otherwise.
      this.#attempts.succeed("taints");
      return null;
    }
    const { value, retryAt } = await this.#attempts.try("taints", () => keepsTaints(access, context, signal));
    if (value !== null) this.#set(value);
    return retryAt;
  }

  #set(isKept: boolean): void {
    if (!isKept && this.#isKept !== false)
      this.#log.warn("the API server drops taints of devices; devices that must not be allocated are not published");
    this.#isKept = isKept;
    this.#isStale = false;
  }
}
