// What does docs/reference/command-line.md say? The tables of which --help and the manual page are made, and nothing else.

import { defaultText, signals, statuses } from "../../src/cli/commands/help.ts";
import { environmentEffects } from "../../src/cli/commands/man.ts";
import { type CommandRow, commands } from "../../src/cli/command-table.ts";
import { options } from "../../src/cli/options.ts";
import type { Option } from "../../src/cli/option.ts";
import { table } from "./marked.ts";

const inCell = (text: string): string => text.replaceAll("|", "\\|");
const code = (text: string): string => `\`${inCell(text)}\``;

const commandTable = table(
  ["command", "what it does"],
  (Object.entries(commands) as [string, CommandRow][]).map(([name, { help, operands }]) => [
    code(`sriovdp ${name}${operands ? ` ${operands.form}` : ""}`),
    inCell(help),
  ]),
);

const spellings = (name: string, { value, aliases = [] }: Option): string =>
  [`--${name}${value === undefined ? "" : `=${value}`}`, ...aliases.map((alias) => `-${alias}`)].map(code).join(", ");

/** The commands that take the option: all, the plugin itself, or those named. */
const takers = ({ for: takenBy = ["run"] }: Option): string =>
  takenBy === "all" ? "all" : takenBy.map(code).join(", ");

const fallback = (option: Option): string => {
  const text = defaultText(option);
  return text === "" ? "" : code(text);
};

const optionTable = (isLegacy: boolean): string =>
  table(
    ["option", "default", "commands", "meaning"],
    (Object.entries(options) as [string, Option][])
      .filter(([, { legacy = false }]) => legacy === isLegacy)
      .map(([name, option]) => [spellings(name, option), fallback(option), takers(option), inCell(option.help)]),
  );

const pairs = (header: readonly [string, string], rows: Readonly<Record<string, string>>): string =>
  table(
    header,
    Object.entries(rows).map(([name, text]) => [code(name), inCell(text)]),
  );

/** The whole page. */
export const commandLinePage = (): string => `# Command line

<!-- Made by npm run docs from the tables in src/cli/; change those and run it. -->

Usage: \`sriovdp [COMMAND] [OPTION]…\`. Without a command the plugin runs.

## Commands

${commandTable}

[What the commands print](output.md) describes their output.

## Options

\`-x V\`, \`--x V\`, \`-x=V\` and \`--x=V\` are the same. Without a command, options are those of \`run\`.

${optionTable(false)}

### Options of the upstream plugin's logger

They are accepted so that a manifest of the upstream plugin can be used as it is.

${optionTable(true)}

## Signals

${pairs(["signal", "effect"], signals)}

## Exit status

${pairs(["status", "meaning"], Object.fromEntries(Object.entries(statuses)))}

## Environment

${pairs(["variable", "effect"], environmentEffects)}
`;
