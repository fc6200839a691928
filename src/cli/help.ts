// What does --help print? The tables, laid out.

import { type CommandRow, commands, type Option, options } from "./options.ts";

const usage = `sriovdp: the SR-IOV network device plugin for Kubernetes

Finds SR-IOV virtual functions, PFs, sub-functions and accelerators on this node, groups them into
pools by the selectors of the config file, and hands them to pods as extended resources.

Usage: sriovdp [COMMAND] [OPTION]…
`;

const column = 31;

function row(left: string, right: string): string {
  return left.length + 2 < column ? `  ${left.padEnd(column - 2)}${right}` : `  ${left}\n${" ".repeat(column)}${right}`;
}

function optionRow(name: string, option: Option): string {
  const value = option.value === undefined ? "" : `=${option.value}`;
  const others = (option.aliases ?? []).map((alias) => `, -${alias}`).join("");
  const shown = option.default === null || option.default === false ? "" : ` (default ${String(option.default)})`;
  return row(`--${name}${value}${others}`, option.help + shown);
}

/** The help text, 100 columns wide at most. */
export function helpText(): string {
  const all = Object.entries(options) as [string, Option][];
  const section = (title: string, legacy: boolean) =>
    [
      title,
      ...all
        .filter(([, option]) => (option.legacy ?? false) === legacy)
        .map(([name, option]) => optionRow(name, option)),
    ].join("\n");
  const commandRows = (Object.entries(commands) as [string, CommandRow][]).map(([name, { help, operands }]) =>
    row(operands ? `${name} ${operands.form}` : name, help),
  );
  return `${usage}
Commands:
${commandRows.join("\n")}

${section("Options (-x V, --x V, -x=V and --x=V are the same):", false)}

${section("Options of the reference implementation's logger:", true)}

Signals: HUP looks at the config file and the node anew; TERM, INT and QUIT end the plugin.
Exit status: 0 all is well, 2 the config file or the command line is wrong, 1 any other failure.
`;
}
