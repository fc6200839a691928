// Which paths do the options mean? A root goes before every path of the node that was not named explicitly.

import { devicePluginsFolder } from "../kubelet/kubelet-paths.ts";
import { statusSockets } from "../telemetry/addresses.ts";
import type { CommandLine } from "./parse.ts";

/** The paths that the commands work on; root is "" for the node itself. */
export interface Paths {
  readonly root: string;
  readonly configFile: string;
  readonly kubeletRoot: string;
  /** The folder of the kubelet's device manager. */
  readonly devicePlugins: string;
  /** Where the running plugin's own socket may be, in the order of preference. */
  readonly statusSockets: readonly string[];
}

/** The paths of a command line: those that it names as they are, the defaults below --root. */
export function pathsOf({ options, given }: Pick<CommandLine, "options" | "given">): Paths {
  const root = options.root.replace(/\/+$/, "");
  const kubeletRoot =
    (given.has("kubelet-root-dir") ? "" : root) + options["kubelet-root-dir"].replace(/(?<=.)\/+$/, "");
  return {
    root,
    configFile: (given.has("config-file") ? "" : root) + options["config-file"],
    kubeletRoot,
    devicePlugins: root + devicePluginsFolder,
    statusSockets: options["status-socket"] === null ? statusSockets(root, kubeletRoot) : [options["status-socket"]],
  };
}
