// What does the README say of commands and of the config file? Their tables in brief.

import * as v from "valibot";
import { type CommandRow, commands } from "../../src/cli/command-table.ts";
import { entryFields } from "../../src/config/config-schema.ts";
import { type Selector, selectorNames, selectors } from "../../src/pools/selectors.ts";
import { table, withMade } from "./marked.ts";

const inCell = (text: string): string => text.replaceAll("|", "\\|");

const commandTable = (): string =>
  table(
    ["command", "what it does"],
    (Object.entries(commands) as [string, CommandRow][]).map(([name, { help, operands }]) => [
      `\`sriovdp ${name}${operands ? ` ${inCell(operands.form)}` : ""}\``,
      inCell(help),
    ]),
  );

const configTable = (): string =>
  table(
    ["key", "meaning"],
    [
      ...Object.entries(entryFields).map(([name, schema]) => [
        `\`${name}\``,
        v.getDescription("wrapped" in schema ? schema.wrapped : schema) ?? "",
      ]),
      ["`selectors`", "A selector object, or a list of them that are tried in order:"],
      ...selectorNames.map((name) => {
        const { help, example } = selectors[name] as Selector<unknown>;
        return [`… \`${name}\``, `${help}: \`${example}\``];
      }),
    ],
  );

/** The README with its tables as they are now. */
export const readme = (before: string): string => withMade(before, { commands: commandTable(), config: configTable() });
