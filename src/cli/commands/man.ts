// `man`: what does the manual say? The tables of the command line and of the files, as roff (man(7)).

import { limits } from "../../limits.ts";
import { version } from "../../process/build-info.ts";
import { optionHelp, signals, statuses } from "./help.ts";
import { type CommandRow, commands } from "../command-table.ts";
import { options } from "../options.ts";
import type { Option } from "../option.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";

/** `man`: prints the manual page. */
export function printManual(_: CommandLine, { out }: Output): number {
  out(manual());
  return exitStatus.ok;
}

/** Escapes what roff would read as its own: backslashes, a dot or quote that begins a line, and hyphens that are minus signs. */
const roff = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^(?=[.'])/gm, "\\&");

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;
const italic = (text: string): string => `\\fI${roff(text)}\\fR`;

/** A tagged paragraph. */
const tagged = (tag: string, text: string): string => `.TP\n${tag}\n${roff(text)}`;

const section = (title: string, ...parts: readonly string[]): string => [`.SH ${title}`, ...parts].join("\n");

function optionTag(name: string, { value, aliases = [] }: Option): string {
  const spellings = [`--${name}`, ...aliases.map((alias) => `-${alias}`)].map(bold).join(", ");
  return value === undefined ? spellings : `${spellings} ${italic(value)}`;
}

const all = Object.entries(options) as [string, Option][];
/** The commands that an option is for, where it is not one of the plugin. */
const takers = ({ for: commandsOf = ["run"] }: Option): string =>
  commandsOf === "all" || commandsOf.includes("run") ? "" : `${commandsOf.join(", ")}: `;

const optionParts = (legacy: boolean): string[] =>
  all
    .filter(([, option]) => (option.legacy === true) === legacy)
    .map(([name, option]) => tagged(optionTag(name, option), `${takers(option)}${optionHelp(option)}.`));

/** What the environment changes, for the manual and the docs. */
export const environmentEffects = {
  NO_COLOR: "When it is set and not empty, nothing is colored.",
  TERM: 'With "dumb" nothing is colored.',
  "BUN_BE_BUN, BUN_OPTIONS, BUN_INSPECT": "Bun's own; they change what the executable is. Don't set them.",
};

/** Where the plugin reads and writes, for the manual and the docs. */
export const files = {
  "/etc/pcidp/config.json": `The pools; at most ${limits.configBytes.max} bytes. Its JSON Schema is printed by "sriovdp schema".`,
  "/var/lib/kubelet/plugins_registry, /var/lib/kubelet/device-plugins":
    "Where the kubelet finds a socket for each pool.",
  "/var/run/k8s.cni.cncf.io/devinfo/dp": "What multus and CNIs read about allocated devices.",
  "/var/run/cdi": "The pools' CDI specs, with --use-cdi, and those of claims, with --allocator=dra.",
  "/run/sriovdp/status.sock": "Where commands ask the running plugin; for root alone.",
};

const examples = (Object.values(commands) as CommandRow[])
  .flatMap((command) => command.examples)
  .map(([args, what]) => [`sriovdp ${args}`, what.replace(/(?<![.?])$/, ".")] as const);

/** The manual page of section 8. */
export function manual(): string {
  return [
    `.\\" Made by "sriovdp man" from the tables of the command line.`,
    `.TH SRIOVDP 8 "" "sriovdp ${version}" "System administration"`,
    section("NAME", "sriovdp \\- the SR\\-IOV network device plugin for Kubernetes"),
    section("SYNOPSIS", `.B sriovdp\n[\\fICOMMAND\\fR] [\\fIOPTION\\fR]\\&...`),
    section(
      "DESCRIPTION",
      roff(
        "Finds SR-IOV virtual functions (VFs), physical functions (PFs), sub-functions (SFs) and accelerators on a node, groups " +
          "them into pools by the selectors of a config file, offers every pool to the kubelet as an extended resource, and " +
          "hands the devices to pods. It follows the node while it runs: nothing needs a restart.",
      ),
    ),
    section(
      "COMMANDS",
      ...(Object.entries(commands) as [string, CommandRow][]).map(([name, { help, operands }]) =>
        tagged(bold(name) + (operands ? ` ${italic(operands.form)}` : ""), `${help}.`),
      ),
    ),
    section("OPTIONS", roff("-x V, --x V, -x=V and --x=V are the same."), ...optionParts(false)),
    section(
      "OPTIONS OF THE UPSTREAM LOGGER",
      "They are those of the upstream plugin\\(aqs logger.",
      ...optionParts(true),
    ),
    section("SIGNALS", ...Object.entries(signals).map(([name, text]) => tagged(bold(name), `${text}.`))),
    section("EXIT STATUS", ...Object.entries(statuses).map(([name, text]) => tagged(bold(name), `${text}.`))),
    section("ENVIRONMENT", ...Object.entries(environmentEffects).map(([name, text]) => tagged(bold(name), text))),
    section("FILES", ...Object.entries(files).map(([name, text]) => tagged(italic(name), text))),
    section("EXAMPLES", ...examples.map(([name, text]) => tagged(bold(name), text))),
    section("SEE ALSO", ".BR ip\\-link (8),\n.BR devlink (8),\n.BR rdma (8),\n.BR vdpa (8)"),
    "",
  ].join("\n");
}
