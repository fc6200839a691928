import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type CommandRow, commands } from "../../src/cli/command-table.ts";
import { options } from "../../src/cli/options.ts";
import type { Option } from "../../src/cli/option.ts";
import { executable, host, removeTemporaryFolder, runCommand, temporaryFolder } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const folder = temporaryFolder();
unpack(host("mixed"), folder);
const entry = { resourceName: "dpdk", selectors: { drivers: ["vfio-pci"] } };
mkdirSync(`${folder}/etc/pcidp`, { recursive: true });
writeFileSync(`${folder}/etc/pcidp/config.json`, JSON.stringify({ resourceList: [entry] }));
mkdirSync(`${folder}/here/poolsfolder`, { recursive: true });
writeFileSync(`${folder}/here/pools.json`, "");
// What a shell finds on its PATH: the executable, for the recorded node.
mkdirSync(`${folder}/bin`);
writeFileSync(`${folder}/bin/sriovdp`, `#!/bin/sh\nexec "${executable}" --root="${folder}" "$@"\n`);
chmodSync(`${folder}/bin/sriovdp`, 0o755);
afterAll(() => removeTemporaryFolder(folder));

const environment = { PATH: `${folder}/bin:${process.env["PATH"] ?? ""}`, HOME: folder, TERM: "dumb", LANG: "C.UTF-8" };

function inShell(command: readonly string[]): string {
  const { stdout, stderr, success } = Bun.spawnSync([...command], {
    env: environment,
    cwd: `${folder}/here`,
    timeout: 20_000,
  });
  if (!success || stderr.length > 0) throw new Error(`${command[0]}: ${stderr.toString()}${stdout.toString()}`);
  return stdout.toString();
}

/** What bash offers for a line, by calling the function as readline does. */
function bash(line: string): string[] {
  const script = `source <(sriovdp completion bash)
    COMP_LINE=$1 COMP_POINT=\${#1} COMP_WORDS=(sriovdp)
    _sriovdp
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  return inShell(["bash", "--norc", "-uc", script, "bash", line]).trimEnd().split("\n").sort();
}

/** What fish offers for a line. */
function fish(line: string): string[] {
  const text = inShell(["fish", "--no-config", "-c", `sriovdp completion fish | source; complete -C "${line}"`]);
  return text
    .trimEnd()
    .split("\n")
    .map((each) => each.split("\t")[0] ?? "")
    .sort();
}

/** How zsh completes a line when Tab is pressed, in a terminal of its own. */
function zsh(line: string): string {
  const result = `${folder}/zsh-line`;
  writeFileSync(result, "");
  const typed = JSON.stringify(line).replaceAll("$", "\\$");
  inShell([
    "zsh",
    "-fc",
    `zmodload zsh/zpty zsh/zselect
    zpty shell zsh -f -i
    zpty -w shell 'autoload -Uz compinit; compinit -u -D; source <(sriovdp completion zsh); show() { print -r -- "<$BUFFER>" >${result} }; zle -N show; bindkey "^X" show; echo re""ady'
    zpty -r -m shell heard '*ready*'
    zpty -w -n shell ${typed}$'\\t\\x18'
    repeat 1500; do [[ -s ${result} ]] && break; zselect -t 1; done
    zpty -d shell`,
  ]);
  return readFileSync(result, "utf8").trim().slice(1, -1);
}

const names = Object.keys(commands).sort();

test("names are those that explain takes, and problems of the config are not printed", () => {
  const { stdout, stderr, status } = runCommand(["completion", "names", "--root", folder]);
  expect(stdout.split("\n")).toEqual(expect.arrayContaining(["intel.com/dpdk", "dpdk", "ens1f0", "3b:01.4", "mlx5_2"]));
  for (const name of ["ens1f0v0", "intel.com/dpdk", "mlx5_core.sf.2"]) {
    expect(runCommand(["explain", "--root", folder, name]).status).toBe(0);
  }
  expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
  expect(runCommand(["completion", "names", "--root", folder, "--config-file=/none"])).toMatchObject({
    stderr: "",
    status: 0,
  });
});

test.each([
  [["completion"], "completion requires an argument: bash, zsh, fish or names"],
  [["completion", "ksh"], "completion ksh: expected bash, zsh, fish or names"],
])("%j is refused: %s", (args, message) => {
  const { stderr, status } = runCommand(args);
  expect(stderr).toContain(message);
  expect(status).toBe(2);
});

describe("bash", () => {
  test.each<[string, string[]]>([
    ["sriovdp ", names],
    ["sriovdp ex", ["explain"]],
    ["sriovdp --root=/ dis", ["discover"]],
    ["sriovdp explain ens1f0v", ["ens1f0v0", "ens1f0v1", "ens1f0v2", "ens1f0v3"]],
    ["sriovdp explain 0000:5e:0", ["00.0", "01.0", "01.1"]],
    ["sriovdp explain intel.com/", ["intel.com/dpdk"]],
    ["sriovdp discover -o ", ["json", "table", "wide", "yaml"]],
    ["sriovdp discover --output j", ["json"]],
    ["sriovdp discover --output=y", ["yaml"]],
    ["sriovdp discover --a", ["--all"]],
    ["sriovdp validate --st", ["--status-socket", "--strict"]],
    ["sriovdp --metrics", ["--metrics-address"]],
    ["sriovdp validate po", ["pools.json", "poolsfolder"]],
    ["sriovdp --config-file pools.", ["pools.json"]],
    ["sriovdp --root po", ["poolsfolder"]],
    ["sriovdp probe ", ["liveness", "readiness", "startup"]],
    ["sriovdp completion f", ["fish"]],
    ["sriovdp help sta", ["status"]],
    ["sriovdp schema sta", ["status"]],
    ["sriovdp status --un", ["--unhealthy"]],
    ["sriovdp validate --node po", ["pools.json", "poolsfolder"]],
    ["sriovdp --resource-prefix ", [""]],
    ["sriovdp discover x", [""]],
  ])("completes %p", (line, offered) => {
    expect(bash(line)).toEqual(offered);
  });
  test("offers a command's own options, and no others", () => {
    expect(bash("sriovdp schema -")).toEqual(["--help", "--version", "-h"]);
  });
});

describe.skipIf(Bun.which("fish") === null)("fish (where there is one)", () => {
  test.each<[string, string[]]>([
    ["sriovdp ", names],
    ["sriovdp ex", ["explain"]],
    ["sriovdp explain ens1f0v", ["ens1f0v0", "ens1f0v1", "ens1f0v2", "ens1f0v3"]],
    ["sriovdp discover -o ", ["json", "table", "wide", "yaml"]],
    ["sriovdp discover --output=j", ["--output=json"]],
    ["sriovdp validate --st", ["--status-socket", "--strict"]],
    ["sriovdp validate pools.", ["pools.json"]],
    ["sriovdp --root po", ["poolsfolder/"]],
    ["sriovdp probe ", ["liveness", "readiness", "startup"]],
  ])("completes %p", (line, offered) => {
    expect(fish(line)).toEqual(offered);
  });
});

describe.skipIf(Bun.which("zsh") === null)("zsh (where there is one)", () => {
  test.each([
    ["sriovdp exp", "sriovdp explain "],
    ["sriovdp explain ens1f0v", "sriovdp explain ens1f0v"],
    ["sriovdp explain mlx5_core.sf.2", "sriovdp explain mlx5_core.sf.2 "],
    ["sriovdp discover -o js", "sriovdp discover -o json "],
    ["sriovdp discover --output=y", "sriovdp discover --output=yaml "],
    ["sriovdp validate --str", "sriovdp validate --strict "],
    ["sriovdp validate pools.", "sriovdp validate pools.json "],
    ["sriovdp probe live", "sriovdp probe liveness "],
  ])("completes %p to %p", (line, completed) => {
    expect(zsh(line)).toBe(completed);
  });
});

describe("the manual page", () => {
  const { stdout: page } = runCommand(["man"]);

  test("has every command, operand, option and exit status of the help", () => {
    const plain = page
      .replaceAll(/\\f[BIR]/g, "")
      .replaceAll("\\-", "-")
      .replaceAll("\\&", "");
    for (const [name, { help, operands }] of Object.entries(commands) as [string, CommandRow][]) {
      expect(plain).toContain(`.TP\n${name}${operands ? ` ${operands.form.replace("…", "...")}` : ""}\n${help}.`);
    }
    for (const [name, { help, aliases = [] }] of Object.entries(options) as [string, Option][]) {
      expect(plain).toContain(`.TP\n${[`--${name}`, ...aliases.map((alias) => `-${alias}`)].join(", ")}`);
      expect(plain.toLowerCase()).toContain(help.toLowerCase());
    }
    for (const status of ["0", "1", "2"]) expect(plain).toContain(`.TP\n${status}\n`);
  });

  // A build has no date: the same commit gives the same bytes.
  const saidOf = (command: readonly string[]) => {
    const { stdout, stderr } = Bun.spawnSync([...command], { stdin: Buffer.from(page) });
    return (stdout.toString() + stderr.toString()).split("\n").filter((line) => !/^$|missing date/.test(line));
  };
  test.skipIf(Bun.which("groff") === null)("is read by groff without a warning (where there is one)", () => {
    expect(saidOf(["groff", "-man", "-ww", "-z", "-Tutf8"])).toEqual([]);
  });
  test.skipIf(Bun.which("mandoc") === null)("is read by mandoc without a warning (where there is one)", () => {
    expect(saidOf(["mandoc", "-Tlint", "-Wwarning"])).toEqual([]);
  });
  test.skipIf(Bun.which("man") === null)("is shown by man (where there is one)", () => {
    const { stdout } = Bun.spawnSync(["man", "-l", "-"], {
      stdin: Buffer.from(page),
      env: { ...environment, MANPAGER: "cat" },
    });
    expect(stdout.toString().replaceAll(/.[\b]/g, "")).toMatch(/^EXIT STATUS$/m);
  });
});
