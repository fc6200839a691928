// Where does the running plugin serve its status? On a unix socket, whose paths plugin and clients try in the same order, and on an address.

import { statusSocketPath } from "../host/node-paths.ts";
import { kubeletPaths } from "../kubelet/kubelet-paths.ts";

/**
 * The paths of the status socket. The second is for containers whose root file system is read-only and which have
 * nothing mounted but the kubelet's folders: the kubelet skips names there that begin with a dot.
 */
export const statusSockets = (root: string, kubeletRoot: string): string[] => [
  statusSocketPath(root),
  `${kubeletPaths(kubeletRoot).registry}/.sriovdp-status.sock`,
];

/** An address to listen at; the host is "" for all of the node's. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads "HOST:PORT", "[IPV6]:PORT" or ":PORT"; null for anything else. */
export function parseAddress(text: string): Address | null {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+(?:%\w+)?)\]|([\w.-]*)):(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  return port >= 1 && port <= 65_535 ? { host: bracketed ?? plain ?? "", port } : null;
}
