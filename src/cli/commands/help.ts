// What do `help` and --help print? The tables, laid out: of the program, or of one command.

import { didYouMean } from "../../config/problem.ts";
import { type Command, type CommandRow, commands } from "../command-table.ts";
import { optionsOf } from "../options.ts";
import type { Option } from "../option.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";
import { wrapped } from "../table.ts";

/** The effects of signals, for the help and the manual. */
export const signals = {
  HUP: "reload the config file and rescan the node",
  "TERM, INT, QUIT": "stop the plugin",
} as const;

/** The meaning of exit statuses, for the help and the manual. */
export const statuses = {
  0: "success",
  1: "any other error; with validate --strict also warnings",
  2: "an error in the config file or on the command line",
} as const;

const usage = `sriovdp: the SR-IOV network device plugin for Kubernetes

Finds SR-IOV virtual functions, PFs, sub-functions and accelerators on this node, groups them into
pools by the selectors of the config file, and hands them to pods as extended resources.

Usage: sriovdp [COMMAND] [OPTION]...
`;

const column = 31;

/** The widest line, in columns. */
const widest = 100;

function row(left: string, right: string): string {
  const [first = "", ...more] = wrapped(right, widest - column);
  const start =
    left.length + 2 < column ? `  ${left.padEnd(column - 2)}${first}` : `  ${left}\n${" ".repeat(column)}${first}`;
  return [start, ...more.map((line) => " ".repeat(column) + line)].join("\n");
}

/** An option with its other spellings and its value: "--output=FORMAT, -o". */
function spelling(name: string, { value, aliases = [] }: Option): string {
  return `--${name}${value === undefined ? "" : `=${value}`}${aliases.map((alias) => `, -${alias}`).join("")}`;
}

/** An option's default as text; "" for an option that is off, not set or empty by default. */
export const defaultText = ({ default: value }: Option): string =>
  value === null || value === false ? "" : String(value);

/** What an option does, and its default. */
export function optionHelp(option: Option): string {
  const fallback = defaultText(option);
  return option.help + (fallback === "" ? "" : ` (default ${fallback})`);
}

/** `help`: prints the help of the program, or of the command that is named. */
export function printHelp({ operands: [word] }: CommandLine, { out, err }: Output): number {
  if (word !== undefined && !Object.hasOwn(commands, word)) {
    const meant = didYouMean(word, Object.keys(commands));
    err(`sriovdp: unknown command ${word}${meant === null ? "" : `; did you mean ${meant}?`}\n`);
    return exitStatus.operatorMistake;
  }
  out(word === undefined ? helpText() : commandHelp(word as Command));
  return exitStatus.ok;
}

/** A command with its operands. */
const form = (name: string, { operands }: CommandRow): string => (operands ? `${name} ${operands.form}` : name);

const syntax = "-x V, --x V, -x=V and --x=V are the same";

/** The help of the program, 100 columns wide at most: its commands, and the options with which it runs as the plugin. */
export function helpText(): string {
  return `${usage}
Commands:
${(Object.entries(commands) as [string, CommandRow][]).map(([name, command]) => row(form(name, command), command.help)).join("\n")}

"sriovdp COMMAND --help" prints a command's options and examples.

${optionSections("run")}

${lines("Signals", signals)}

${lines("Exit status", statuses)}
`;
}

/** The help of one command, 100 columns wide at most: what it does, its options, examples. */
export function commandHelp(name: Command): string {
  const command: CommandRow = commands[name];
  const examples = command.examples.map(([args, what]) => `  sriovdp ${args}\n      ${what}`);
  return `Usage: sriovdp ${form(name, command)} [OPTION]...

${command.help}.

${optionSections(name)}

Examples:
${examples.join("\n")}
${name === "run" ? `\n${lines("Signals", signals)}\n` : ""}`;
}

function optionSections(name: Command): string {
  const section = (title: string, isLegacy: boolean) => {
    const rows = optionsOf(name, true).filter(([, option]) => (option.legacy ?? false) === isLegacy);
    return rows.length === 0
      ? []
      : [[title, ...rows.map(([each, option]) => row(spelling(each, option), optionHelp(option)))].join("\n")];
  };
  return [...section(`Options (${syntax}):`, false), ...section("Options of the upstream plugin's logger:", true)].join(
    "\n\n",
  );
}

const lines = (title: string, rows: Readonly<Record<string, string>>): string =>
  [`${title}:`, ...Object.entries(rows).map(([name, help]) => row(name, help))].join("\n");
