// How is the config file read? With its size limited; errors of the file have the form of any other problem.

import { messageOf } from "../text.ts";
import { limits } from "../limits.ts";
import { readText } from "../fs/read-text.ts";
import { type Loaded, loadConfig, type LoadOptions } from "./load.ts";

/** Reads and loads a config file; text is null when the file could not be read. */
export function readConfigFile(path: string, options: LoadOptions): Loaded & { readonly text: string | null } {
  let text: string;
  try {
    text = readText(path, limits.configBytes.max);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const message = code === "ENOENT" ? "no such file; set --config-file" : `cannot read the file: ${messageOf(error)}`;
    return {
      specs: null,
      wellFormed: [],
      problems: [{ severity: "error", path: "", message, line: null, column: null }],
      skipped: [],
      entries: [],
      text: null,
    };
  }
  return { ...loadConfig(text, options), text };
}
