// What is in a folder that may not be there?

import { readdirSync } from "node:fs";

/** Names in a folder; none when it is missing. Throws the system's error when it can't be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
