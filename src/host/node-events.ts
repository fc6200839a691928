// When does the node change? Kernel events decide only which reader runs again; what they report is not used.

import { watchKernel } from "../../native/netlink/events.ts";
import { FolderWatch } from "../fs/folder-watch.ts";
import { isRecorded } from "./kernel.ts";

/** Is called for events. */
export interface NodeListener {
  functions(): void;
  links(): void;
  /** Events were lost or are unavailable; everything must be scanned again. */
  lost(reason: string): void;
}

/**
 * Watches the node below `root`: by netlink for the live node; in a recorded tree, where there is no kernel, a change
 * of netlink.json counts as a link event and one of the file "uevent" for a uevent.
 */
export function watchNode(root: string, listener: NodeListener): { close(): void } {
  if (!isRecorded(root)) return watchKernel(listener);
  return new FolderWatch(root, (names) => {
    if (names.has(null) || names.has("uevent")) listener.functions();
    if (names.has(null) || names.has("netlink.json")) listener.links();
  });
}
