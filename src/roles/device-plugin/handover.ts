// When may a pool be given devices that another one had? The kubelet reads each pool's list from a stream of its own, in no order between them: a
// device is in two lists for an instant unless the gaining list waits until the kubelet has read the loss.

import { revisionOf } from "../../fs/identity.ts";
import { readRegisteredDevices } from "../../kubelet/allocations.ts";
import { type Move, unseenMoves } from "../../pools/diff.ts";

/** How long a gaining list waits at most, in milliseconds: a kubelet that is late must not keep devices from pods. */
export const handoverLimit = 1000;

/** How often the checkpoint is checked meanwhile, in milliseconds. */
const interval = 10;

/**
 * Waits until the kubelet's checkpoint, which it writes after each list, names none of the moved devices under the pool that lost it; at most
 * `handoverLimit`, and not at all where the checkpoint can't be read.
 */
export async function lossesSeen(checkpoint: string, moves: readonly Move[], isClosed: () => boolean): Promise<void> {
  const end = performance.now() + handoverLimit;
  let unseen = moves;
  let read: string | null = null;
  while (unseen.length > 0 && performance.now() < end && !isClosed()) {
    const revision = revisionOf(checkpoint);
    if (revision === null || revision !== read) {
      const registered = readRegisteredDevices(checkpoint);
      if (registered === null) return;
      unseen = unseenMoves(unseen, registered);
      read = revision;
    }
    if (unseen.length > 0) await Bun.sleep(interval);
  }
}
