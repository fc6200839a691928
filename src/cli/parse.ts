// What did the command line say? Go's flag syntax: -x V, --x V, -x=V; a flag alone, or -x=true, -x=false.

import { didYouMean } from "../config/problem.ts";
import { type Command, type CommandRow, commands } from "./command-table.ts";
import { optionFor, type OptionName, options, type Options, optionsOf } from "./options.ts";
import type { Option } from "./option.ts";

/** The parsed command line; `problems` are sentences, empty when all is well. */
export interface CommandLine {
  readonly command: Command;
  /** Whether the command was named, and not defaulted to `run`. */
  readonly isNamed: boolean;
  readonly options: Options;
  /** Options that were given, not defaulted. */
  readonly given: ReadonlySet<OptionName>;
  readonly operands: readonly string[];
  readonly problems: readonly string[];
}

const names = new Map<string, OptionName>();
for (const [name, option] of Object.entries(options) as [OptionName, Option][]) {
  for (const spelling of [name, ...(option.aliases ?? [])]) names.set(spelling, name);
}

/** Parses the arguments after the program's name; finds all problems, and never throws. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values: Record<string, string | number | boolean | null> = {};
  for (const [name, option] of Object.entries(options)) values[name] = option.default;
  const given = new Set<OptionName>();
  const words: string[] = [];
  const unknown: string[] = [];
  const problems: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    // As opposed to the upstream plugin's entrypoint, an empty argument does not end the parsing.
    if (argument === "") continue;
    if (!argument.startsWith("-") || argument === "-") {
      words.push(argument);
      continue;
    }
    if (argument === "--") {
      words.push(...args.slice(index + 1));
      break;
    }
    const [spelling = "", ...rest] = argument.replace(/^--?/, "").split("=");
    const name = names.get(spelling);
    if (name === undefined) {
      unknown.push(argument.split("=")[0] ?? "");
      continue;
    }
    const option: Option = options[name];
    let text = rest.length > 0 ? rest.join("=") : undefined;
    if (text === undefined && option.kind === "flag") text = "true";
    if (text === undefined) text = args[++index];
    if (text === undefined) {
      problems.push(`--${name} requires a value`);
      continue;
    }
    // As the upstream plugin's entrypoint: an empty value is the same as none.
    if (text === "" && option.kind === "text") continue;
    const value = valueOf(option, text);
    const expected = value === undefined ? expectation(option) : option.expected?.(text);
    if (typeof expected === "string") problems.push(`--${name}=${text}: expected ${expected}`);
    else {
      values[name] = value as string | number | boolean;
      given.add(name);
      if (option.means && value === true) {
        const [meant, setting] = option.means;
        values[meant] = setting;
        given.add(meant as OptionName);
      }
    }
  }
  const [first, ...operands] = words;
  const known = first !== undefined && Object.hasOwn(commands, first);
  const command = known ? (first as Command) : "run";
  // Of an unknown command nothing is known about its options.
  const isKnown = known || first === undefined;
  const { choices = [], default: usual } = optionFor(command, "output");
  if (!given.has("output")) values["output"] = usual;
  else if (!choices.includes(String(values["output"])))
    problems.push(`--output=${values["output"]}: expected ${listed(choices)}`);
  problems.unshift(...unknown.map((spelling) => unknownOption(spelling, isKnown ? command : null)));
  if (!isKnown) problems.push(unknownCommand(first));
  if (known) problems.push(...operandProblems(command, operands));
  if (isKnown) problems.push(...[...given].flatMap((name) => misplacedOption(name, command, known)));
  return { command, isNamed: known, options: values as unknown as Options, given, operands, problems };
}

function unknownCommand(word: string): string {
  const meant = didYouMean(word, Object.keys(commands));
  return `unknown command ${word}${meant === null ? "" : `; did you mean ${meant}?`}`;
}

/** An unknown option, with the one that was probably meant: a similar one, or one that begins with it. */
function unknownOption(spelling: string, command: Command | null): string {
  const word = spelling.replace(/^--?/, "");
  const taken =
    command === null ? [...names.keys()] : optionsOf(command).flatMap(([name, { aliases = [] }]) => [name, ...aliases]);
  const begun = word.length < 3 ? [] : taken.filter((name) => name.startsWith(word.toLowerCase()));
  const near = didYouMean(word, taken) ?? didYouMean(word, [...names.keys()]);
  const meant = begun.length > 0 && begun.length < 4 ? begun : near === null ? [] : [near];
  return `unknown option ${spelling}${meant.length === 0 ? "" : `; did you mean ${listed(meant.map((name) => `--${name}`))}?`}`;
}

/** Why an option can't be given to a command: with it the operator expects something that would not happen. */
function misplacedOption(name: OptionName, command: Command, isNamed: boolean): string[] {
  const { for: takers = ["run"] }: Option = options[name];
  if (takers === "all" || takers.includes(command)) return [];
  const whose = `option of ${listed(takers, "and")}`;
  return [
    isNamed ? `${command} does not take --${name}, an ${whose}` : `--${name} is an ${whose}; put the command before it`,
  ];
}

function operandProblems(command: Command, operands: readonly string[]): string[] {
  const { operands: taken }: CommandRow = commands[command];
  const surplus = operands[taken?.most ?? 0];
  if (operands.length < (taken?.least ?? 0))
    return [`${command} requires an argument: ${taken?.choices ? listed(taken.choices) : taken?.form}`];
  const odd = operands.filter((word) => taken?.choices && !taken.choices.includes(word));
  return [
    ...(surplus === undefined ? [] : [`unexpected argument ${JSON.stringify(surplus)}`]),
    ...(surplus === undefined ? odd.map((word) => `${command} ${word}: expected ${listed(taken?.choices ?? [])}`) : []),
  ];
}

const listed = (words: readonly string[], last = "or"): string => words.join(", ").replace(/, ([^,]+)$/, ` ${last} $1`);

/** Go's spellings of booleans (strconv.ParseBool). */
const truths = new Map(
  [["1 t T true TRUE True", true] as const, ["0 f F false FALSE False", false] as const].flatMap(([spellings, truth]) =>
    spellings.split(" ").map((spelling) => [spelling, truth] as const),
  ),
);

function valueOf(option: Option, text: string): string | number | boolean | undefined {
  if (option.kind === "flag") return truths.get(text);
  if (option.kind === "text") return text;
  if (option.kind === "choice") return option.choices?.includes(text) === true ? text : undefined;
  if (option.words && Object.hasOwn(option.words, text)) return option.words[text];
  const number = Number(text);
  const fits = number >= (option.least ?? -Infinity) && number <= (option.most ?? Infinity);
  return text !== "" && Number.isFinite(number) && fits ? number : undefined;
}

function expectation({ kind, least, most, choices, words }: Option): string {
  if (kind === "flag") return "true or false";
  if (choices) return listed(choices);
  if (words) return `a number, or ${listed(Object.keys(words))}`;
  const bounds = [
    ...(least === undefined ? [] : [`at least ${least}`]),
    ...(most === undefined ? [] : [`at most ${most}`]),
  ];
  return bounds.length === 0 ? "a number" : `a number of ${bounds.join(" and ")}`;
}
