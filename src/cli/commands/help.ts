// What does --help print? The tables, laid out.

import { type CommandRow, commands, type Option, options } from "../options.ts";

/** What signals do, for the help and the manual. */
export const signals = {
  HUP: "looks at the config file and the node anew",
  "TERM, INT, QUIT": "end the plugin",
} as const;

/** What exit statuses say, for the help and the manual. */
export const statuses = {
  0: "all is well",
  1: "any failure that is told; validate --strict: there are warnings",
  2: "the config file or the command line is wrong",
} as const;

const usage = `sriovdp: the SR-IOV network device plugin for Kubernetes

Finds SR-IOV virtual functions, PFs, sub-functions and accelerators on this node, groups them into
pools by the selectors of the config file, and hands them to pods as extended resources.

Usage: sriovdp [COMMAND] [OPTION]…
`;

const column = 31;

function row(left: string, right: string): string {
  return left.length + 2 < column ? `  ${left.padEnd(column - 2)}${right}` : `  ${left}\n${" ".repeat(column)}${right}`;
}

/** An option with its other spellings and its value: "--output=FORMAT, -o". */
function spelling(name: string, { value, aliases = [] }: Option): string {
  return `--${name}${value === undefined ? "" : `=${value}`}${aliases.map((alias) => `, -${alias}`).join("")}`;
}

/** What an option does, for which commands when not for the plugin, and its default. */
export function optionHelp({ help, default: fallback, for: commands = ["run"] }: Option): string {
  const isFew = commands !== "all" && !commands.includes("run") && commands.length < 3;
  const by = isFew ? `${commands.join(", ")}: ` : "";
  const shown = fallback === null || fallback === false ? "" : ` (default ${String(fallback)})`;
  return (by === "" ? help : by + help.slice(0, 1).toLowerCase() + help.slice(1)) + shown;
}

/** The help text, 100 columns wide at most. */
export function helpText(): string {
  const all = Object.entries(options) as [string, Option][];
  const section = (title: string, legacy: boolean) =>
    [
      title,
      ...all
        .filter(([, option]) => (option.legacy ?? false) === legacy)
        .map(([name, option]) => row(spelling(name, option), optionHelp(option))),
    ].join("\n");
  const commandRows = (Object.entries(commands) as [string, CommandRow][]).map(([name, { help, operands }]) =>
    row(operands ? `${name} ${operands.form}` : name, help),
  );
  return `${usage}
Commands:
${commandRows.join("\n")}

${section("Options (-x V, --x V, -x=V and --x=V are the same):", false)}

${section("Options of the upstream plugin's logger:", true)}

${lines("Signals", signals)}

${lines("Exit status", statuses)}
`;
}

const lines = (title: string, rows: Readonly<Record<string, string>>): string =>
  [`${title}:`, ...Object.entries(rows).map(([name, help]) => row(name, help))].join("\n");
