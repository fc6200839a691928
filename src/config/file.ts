// How is the config file read? With its size limited, and file trouble told in the same form as any other problem.

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
    const message = `can't be read: ${messageOf(error)}; name another file`;
    return {
      specs: null,
      problems: [{ severity: "error", path: "", message, line: 1, column: 1 }],
      skipped: [],
      entries: [],
      text: null,
    };
  }
  return { ...loadConfig(text, options), text };
}
