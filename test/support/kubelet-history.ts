// What happened at a kubelet double, in its order, and what tests ask of it.

import type { KubeletEvent } from "./kubelet-view.ts";

export class KubeletHistory {
  readonly events: KubeletEvent[] = [];

  note(what: KubeletEvent["what"], of: string, detail?: string): void {
    this.events.push({ what, of, at: performance.now(), ...(detail === undefined ? {} : { detail }) });
  }

  /** What happened, one event a line. */
  transcript(): string {
    return this.events
      .map(({ what, of, detail }) => `${what} ${of}${detail === undefined ? "" : `: ${detail}`}`)
      .join("\n  ");
  }

  /**
   * For how long nothing of the resource could be allocated after a time, in milliseconds: the sum of the times from the end of a stream
   * to the next list; Infinity when none came.
   */
  outageOf(resource: string, since: number): number {
    let outage = 0;
    let ended: number | null = null;
    for (const { what, of, at } of this.events) {
      if (of !== resource || at < since) continue;
      if (what === "stream ended") ended ??= at;
      if (what !== "list" || ended === null) continue;
      outage += at - ended;
      ended = null;
    }
    return ended === null ? outage : Infinity;
  }

  /** How often something happened, of one resource or of all. */
  count(what: KubeletEvent["what"], of?: string): number {
    return this.events.filter((event) => event.what === what && (of === undefined || event.of === of)).length;
  }
}
