// `completion`: what does a shell complete? Commands, options and their values from the tables; for `explain` the names
// that this node and its config file have, fetched when they are completed.

import { oneLine } from "../../text.ts";
import { allNames } from "../find-by-name.ts";
import { isConfigNamed, loadConfigFile, runningView, scan } from "../view.ts";
import { type Command, type CommandRow, commands } from "../command-table.ts";
import { type OptionName, options, optionsOf } from "../options.ts";
import type { Option } from "../option.ts";
import { exitStatus, type Output } from "../output.ts";
import type { CommandLine } from "../parse.ts";

/** `completion`: prints a script to be read by the shell, or the names that `explain` takes, one a line. */
export async function printCompletion(line: CommandLine, output: Output): Promise<number> {
  const [what = ""] = line.operands;
  output.out(what === "names" ? await names(line, output) : (scripts[what]?.() ?? ""));
  return exitStatus.ok;
}

/** The names that `explain` takes. Problems of the config file are not printed: they would appear in the middle of the command line. */
async function names(line: CommandLine, output: Output): Promise<string> {
  const silent = { ...output, err: () => {} };
  const running = isConfigNamed(line) ? null : await runningView(line);
  const view =
    running !== null && typeof running !== "string"
      ? running
      : await scan(line, loadConfigFile(line, silent).specs ?? [], "", silent);
  return allNames(view)
    .filter((name) => name === oneLine(name))
    .map((name) => `${name}\n`)
    .join("");
}

const rows = Object.entries(commands) as [Command, CommandRow][];
const commandNames = rows.map(([name]) => name);

/** All spellings of an option: "--output", "-o". */
const spellings = (name: string, { aliases = [] }: Option): string[] => [
  `--${name}`,
  ...aliases.map((alias) => (alias.length === 1 ? `-${alias}` : `--${alias}`)),
];

/** What completes an option's value: "file", "folder", words, or nothing that could be known. */
const valueKind = ({ value, choices, words }: Option): readonly string[] | "file" | "folder" | null =>
  choices ??
  (words && Object.keys(words)) ??
  (value === "FILE" || value === "PATH" ? "file" : value === "DIR" ? "folder" : null);

/** What completes a command's operands. */
const operandKind = (name: Command, { operands }: CommandRow): readonly string[] | "file" | "names" | null =>
  operands?.choices ?? (name === "explain" ? "names" : name === "help" ? commandNames : operands ? "file" : null);

/** A text in single quotes for sh, zsh and fish alike: help texts have neither backslashes nor newlines. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const valued = (Object.entries(options) as [OptionName, Option][]).filter(
  ([, option]) => option.kind !== "flag" && option.legacy !== true,
);

function bash(): string {
  const compgen = { file: "-f", folder: "-d" } as const;
  const values = valued.map(([name, option]) => {
    const kind = valueKind(option);
    const how = kind === null ? "return" : typeof kind === "string" ? `candidates=(${compgen[kind]})` : words(kind);
    return `    ${spellings(name, option).join("|")}) ${how} ;;`;
  });
  const operands = rows.map(([name, row]) => {
    const kind = operandKind(name, row);
    const how =
      kind === null
        ? "return"
        : kind === "file"
          ? "candidates=(-f)"
          : kind === "names"
            ? 'candidates=(-W "$("${COMP_WORDS[0]}" completion names 2>/dev/null)")'
            : words(kind);
    return `    ${name}) ${how} ;;`;
  });
  const flags = rows.map(([name]) => {
    const all = optionsOf(name).flatMap(([option, row]) => spellings(option, row));
    return `    ${name}) ${words(all)} ;;`;
  });
  return `# Completion of sriovdp for bash: source <(sriovdp completion bash), or put it into
# /usr/share/bash-completion/completions/sriovdp
_sriovdp() {
  local typed current previous= command= word candidates=()
  # Readline splits words at ":" and "=", as in 0000:3b:02.1 and --output=json; we don't.
  read -ra typed <<<"\${COMP_LINE:0:COMP_POINT}"
  [[ \${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && typed+=("")
  current=\${typed[-1]}
  ((\${#typed[@]} > 2)) && previous=\${typed[-2]}
  for word in "\${typed[@]:1:\${#typed[@]}-2}"; do
    case $word in ${commandNames.join("|")}) command=$word && break ;; esac
  done
  if [[ $current == -*=* ]]; then
    previous=\${current%%=*} current=\${current#*=}
  fi
  case $previous in
${values.join("\n")}
  esac
  if ((\${#candidates[@]} == 0)); then
    case $current in
    -*) case \${command:-run} in
${flags.join("\n")}
      esac ;;
    *) case $command in
    "") ${words(commandNames)} ;;
${operands.join("\n")}
      esac ;;
    esac
  fi
  mapfile -t COMPREPLY < <(compgen "\${candidates[@]}" -- "$current")
  # The part before the last ":" is there already.
  [[ $current == *:* ]] && COMPREPLY=("\${COMPREPLY[@]#"\${current%"\${current##*:}"}"}")
  return 0
}
complete -o filenames -F _sriovdp sriovdp
`;
}

const words = (all: readonly string[]): string => `candidates=(-W ${quoted(all.join(" "))})`;

function zsh(): string {
  const arguments_ = (Object.entries(options) as [OptionName, Option][])
    .filter(([, option]) => option.legacy !== true)
    .map(([name, option]) => {
      const all = spellings(name, option);
      const help = option.help.replaceAll(/[[\]:]/g, "\\$&");
      const kind = valueKind(option);
      const how = kind === "file" ? "_files" : kind === "folder" ? "_files -/" : kind ? `(${kind.join(" ")})` : " ";
      const value = option.kind === "flag" ? "" : `:${(option.value ?? "VALUE").replaceAll(":", "\\:")}:${how}`;
      const forms = all.map((each) =>
        option.kind === "flag" ? each : each.startsWith("--") ? `${each}=` : `${each}+`,
      );
      const [only = ""] = forms;
      return forms.length === 1
        ? `    ${quoted(`${only}[${help}]${value}`)} \\`
        : `    ${quoted(`(${all.join(" ")})`)}{${forms.join(",")}}${quoted(`[${help}]${value}`)} \\`;
    });
  const operands = rows.flatMap(([name, row]) => {
    const kind = operandKind(name, row);
    if (kind === null) return [];
    const how =
      kind === "file"
        ? "_files"
        : kind === "names"
          ? 'compadd -- ${(f)"$($service completion names 2>/dev/null)"}'
          : `compadd -- ${kind.join(" ")}`;
    return [`      ${name}) ${how} ;;`];
  });
  return `#compdef sriovdp
# Completion of sriovdp for zsh: source <(sriovdp completion zsh) after compinit, or put it as _sriovdp into a folder of $fpath.
_sriovdp() {
  local context state state_descr line ret=1
  typeset -A opt_args
  local -a commands=(
${rows.map(([name, { help }]) => `    ${quoted(`${name}:${help}`)}`).join("\n")}
  )
  _arguments -C \\
${arguments_.join("\n")}
    '1: :->command' \\
    '*: :->operand' && ret=0
  case $state in
  command) _describe -t commands command commands && ret=0 ;;
  operand)
    case $line[1] in
${operands.join("\n")}
    esac && ret=0 ;;
  esac
  return ret
}
if [[ $funcstack[1] == _sriovdp ]]; then _sriovdp "$@"; else compdef _sriovdp sriovdp; fi
`;
}

function fish(): string {
  const lines = rows.map(([name, { help }]) => `complete -c sriovdp -n "not $seen" -f -a ${name} -d ${quoted(help)}`);
  for (const [name, option] of Object.entries(options) as [OptionName, Option][]) {
    if (option.legacy) continue;
    const kind = valueKind(option);
    const how =
      option.kind === "flag"
        ? "-f"
        : kind === "file"
          ? "-r -F"
          : kind === "folder"
            ? "-x -a '(__fish_complete_directories)'"
            : `-x${kind ? ` -a ${quoted(kind.join(" "))}` : ""}`;
    const short = (option.aliases ?? [])
      .map((alias) => (alias.length === 1 ? ` -s ${alias}` : ` -l ${alias}`))
      .join("");
    const by = option.for === "all" ? commandNames : (option.for ?? ["run"]);
    const when = by.includes("run")
      ? `not $seen; or __fish_seen_subcommand_from ${by.join(" ")}`
      : `__fish_seen_subcommand_from ${by.join(" ")}`;
    lines.push(`complete -c sriovdp -n "${when}" -l ${name}${short} ${how} -d ${quoted(option.help)}`);
  }
  for (const [name, row] of rows) {
    const kind = operandKind(name, row);
    if (kind === null) continue;
    const how =
      kind === "file"
        ? "-F"
        : kind === "names"
          ? "-f -a '(command sriovdp completion names 2>/dev/null)'"
          : `-f -a ${quoted(kind.join(" "))}`;
    lines.push(`complete -c sriovdp -n "__fish_seen_subcommand_from ${name}" ${how}`);
  }
  return `# Completion of sriovdp for fish: sriovdp completion fish | source, or put it into
# ~/.config/fish/completions/sriovdp.fish
set -l seen __fish_seen_subcommand_from ${commandNames.join(" ")}
complete -c sriovdp -f
${lines.join("\n")}
`;
}

const scripts: Readonly<Record<string, () => string>> = { bash, zsh, fish };
