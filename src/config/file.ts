// How is the config file read? Size-limited, and with file trouble told in the same form as any other problem.

import { readFileSync, statSync } from "node:fs";
import { type Loaded, loadConfig, type LoadOptions } from "./load.ts";

/** A ConfigMap holds 1 MiB at most; anything much larger is no config file. */
const largest = 4 << 20;

/** Reads and loads a config file; text is null when the file could not be read. */
export function readConfigFile(path: string, options: LoadOptions): Loaded & { readonly text: string | null } {
  const trouble = (message: string): Loaded & { readonly text: null } => ({
    specs: null,
    problems: [{ severity: "error", path: "", message, line: 1, column: 1 }],
    skipped: [],
    text: null,
  });
  try {
    const { size } = statSync(path);
    if (size > largest) return trouble(`too large: ${size} bytes, at most ${largest} are read`);
    const text = readFileSync(path, "utf8");
    return { ...loadConfig(text, options), text };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return trouble(`can't be read: ${(error as Error).message}; name another file with --config-file`);
  }
}
