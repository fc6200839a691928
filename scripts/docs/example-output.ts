// What do the commands print on the example node? Run in this process, on a terminal that takes colors.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { runs } from "../../src/cli/commands.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { parse, unpack } from "../../test/support/tree.ts";
import { exampleConfig, exampleHost } from "./example.ts";

/** Prints a command's output, as a terminal of this many columns would be given it. */
export async function exampleOutput(args: readonly string[], columns: number | null): Promise<string> {
  const root = mkdtempSync(`${tmpdir()}/example-`);
  try {
    unpack(parse(readFileSync(`${import.meta.dir}/../../test/hosts/${exampleHost}.host`, "utf8")), root);
    mkdirSync(`${root}/etc/pcidp`, { recursive: true });
    writeFileSync(`${root}/etc/pcidp/config.json`, JSON.stringify(exampleConfig));
    const line = parseCommandLine([...args, "--root", root]);
    if (line.command === "run") throw new Error(`${args.join(" ")} runs the plugin`);
    let text = "";
    const write = (more: string) => void (text += more);
    await (
      await runs[line.command]()
    )(line, { out: write, err: write, bytes: () => {}, color: columns !== null, columns });
    return text.replaceAll(root, "");
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
