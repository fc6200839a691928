import { describe, expect, test } from "bun:test";
import { commandHelp, helpText } from "./commands/help.ts";
import { type Command, type CommandRow, commands } from "./command-table.ts";
import { options, optionsOf } from "./options.ts";
import type { Option } from "./option.ts";
import { parseCommandLine } from "./parse.ts";
import { pathsOf } from "./paths.ts";

const parse = (...args: string[]) => parseCommandLine(args);
const given = (...args: string[]) => {
  const line = parse(...args);
  expect(line.problems).toEqual([]);
  return Object.fromEntries([...line.given].map((name) => [name, line.options[name]]));
};

describe("options", () => {
  test("have the upstream plugin's defaults", () => {
    const line = parse();
    expect(line).toMatchObject({ command: "run", operands: [], problems: [] });
    expect(line.options).toMatchObject({
      "config-file": "/etc/pcidp/config.json",
      "resource-prefix": "intel.com",
      "use-cdi": false,
      "log-dir": null,
    });
  });

  test.each([
    [["-config-file", "/c"]],
    [["--config-file", "/c"]],
    [["-config-file=/c"]],
    [["--config-file=/c"]],
    [["", "--config-file", "/c", ""]],
  ])("%j is the same as --config-file=/c", (args) => {
    expect(given(...args)).toEqual({ "config-file": "/c" });
  });

  test.each([
    [["-v", "10"], 10],
    [["-v=3"], 3],
    [["--v", "0"], 0],
    [["--log-level=10"], 10],
    [["-log-level", "7"], 7],
  ])("%j sets the verbosity to %d", (args, level) => {
    expect(given(...args)).toEqual({ "log-level": level });
  });

  test.each([
    [["-use-cdi"], true],
    [["--use-cdi"], true],
    [["--use-cdi=true"], true],
    [["--use-cdi=T"], true],
    [["-use-cdi=1"], true],
    [["--use-cdi=false"], false],
    [["--use-cdi=0"], false],
    [["--use-cdi=FALSE"], false],
    [["--use-cdi", "--use-cdi=false"], false],
  ])("%j sets use-cdi to %p", (args, value) => {
    expect(given(...args)).toEqual({ "use-cdi": value });
  });

  test("a flag does not take the next argument", () => {
    expect(given("--use-cdi", "-v", "3")).toEqual({ "use-cdi": true, "log-level": 3 });
  });

  test("the arguments of the upstream plugin's image are understood", () => {
    expect(given("--log-dir=sriovdp", "--log-level=10", "--resource-prefix=nvidia.com", "--use-cdi")).toEqual({
      "log-dir": "sriovdp",
      "log-level": 10,
      "resource-prefix": "nvidia.com",
      "use-cdi": true,
    });
  });

  test("the upstream plugin's logger's flags are understood", () => {
    expect(
      given(
        "-logtostderr",
        "-alsologtostderr=false",
        "-stderrthreshold",
        "ERROR",
        "-log_dir",
        "/var/log/x",
        "-vmodule=server=2",
        "-log_backtrace_at",
        "x.go:1",
      ),
    ).toEqual({
      logtostderr: true,
      alsologtostderr: false,
      stderrthreshold: "ERROR",
      log_dir: "/var/log/x",
      vmodule: "server=2",
      log_backtrace_at: "x.go:1",
    });
  });

  test("a value is not cut at a second =", () => {
    expect(given("--config-file=/a=b=c")).toEqual({ "config-file": "/a=b=c" });
  });

  test("an empty value is the same as none, as the upstream plugin's entrypoint takes it", () => {
    for (const name of ["log-dir", "config-file", "resource-prefix"] as const) {
      expect(parse(`--${name}=`).options[name]).toBe(options[name].default);
    }
  });

  test.each([
    [["-o", "yaml"], "yaml"],
    [["--output=json"], "json"],
    [["--json"], "json"],
    [["-o=yaml", "--json"], "json"],
    [["--json", "-o=yaml"], "yaml"],
    [["--json=false"], "table"],
    [["-o", "wide"], "wide"],
  ] as const)("%j selects %s", (args, format) => {
    expect(parse("status", ...args)).toMatchObject({ problems: [], options: { output: format } });
  });

  test("without --output a command prints in the first of its formats", () => {
    expect(parse("device-classes").options.output as string).toBe("yaml");
    expect(parse("device-classes", "--json")).toMatchObject({ problems: [], options: { output: "json" } });
    expect(parse("status").options.output).toBe("table");
    expect(commandHelp("device-classes")).toContain("Output format: yaml or json (default yaml)");
  });

  test("the last of several values counts", () => {
    expect(given("-v", "1", "-v", "2")).toEqual({ "log-level": 2 });
  });

  test.each([
    ["--resource-prefx=x", "unknown option --resource-prefx; did you mean --resource-prefix?"],
    ["-usecdi", "unknown option -usecdi; did you mean --use-cdi?"],
    ["--frobnicate", "unknown option --frobnicate"],
    ["---v", "unknown option ---v; did you mean --v?"],
    ["--config-file", "--config-file requires a value"],
    ["--use-cdi=maybe", "--use-cdi=maybe: expected true or false"],
    ["--use-cdi=", "--use-cdi=: expected true or false"],
    ["-v=x", "--log-level=x: expected a number, or debug, info, warn or error"],
    ["-v=", "--log-level=: expected a number, or debug, info, warn or error"],
    ["-v=NaN", "--log-level=NaN: expected a number, or debug, info, warn or error"],
    ["-v=Infinity", "--log-level=Infinity: expected a number, or debug, info, warn or error"],
    ["--resync-interval=0", "--resync-interval=0: expected a number of at least 1 and at most 2147483"],
    // More overflows a timer, which then never waits.
    ["--resync-interval=2147484", "--resync-interval=2147484: expected a number of at least 1 and at most 2147483"],
    ["--config", "unknown option --config; did you mean --config-file?"],
    ["--log", "unknown option --log; did you mean --log-level, --log-format or --log-dir?"],
    ["--strict", "--strict is an option of validate; put the command before it"],
    ["frob", "unknown command frob"],
    ["discovr", "unknown command discovr; did you mean discover?"],
    ["toString", "unknown command toString"],
  ])("%s is a problem: %s", (argument, problem) => {
    expect(parse(argument).problems).toEqual([problem]);
  });

  test.each([
    [["status", "-o", "xml"], "--output=xml: expected table, wide, json or yaml"],
    [["discover", "-o="], "--output=: expected table, wide, json or yaml"],
    [["discover", "--config", "x"], "unknown option --config; did you mean --config-file?"],
    [["discover", "--pool", "net"], "discover does not take --pool, an option of status"],
    [
      ["--use-cdi", "status"],
      "status does not take --use-cdi, an option of run, discover, explain, validate and completion",
    ],
    [
      ["schema", "--json"],
      "schema does not take --json, an option of discover, explain, validate, status, report and device-classes",
    ],
    [["device-classes", "-o", "table"], "--output=table: expected yaml or json"],
  ])("%j is a problem: %s", (args, problem) => {
    expect(parse(...args).problems).toContain(problem);
  });

  test("all problems are found at once", () => {
    expect(parse("--a", "-v=x", "frob").problems).toHaveLength(3);
  });
});

describe("commands", () => {
  test.each(Object.keys(commands))("%s is one", (command) => {
    const { operands }: CommandRow = commands[command as Command];
    const needed = operands?.least === undefined ? [] : (operands.choices ?? []).slice(0, operands.least);
    expect(parse("--help", command, ...needed)).toMatchObject({ command, isNamed: true, problems: [] });
  });

  test("explain takes devices, also after --", () => {
    expect(parse("explain", "0000:3b:02.1", "--json", "--", "-x")).toMatchObject({
      command: "explain",
      operands: ["0000:3b:02.1", "-x"],
      problems: [],
    });
  });

  test("those that need to know more say so", () => {
    expect(parse("probe").problems).toEqual(["probe requires an argument: startup, liveness or readiness"]);
    expect(parse("probe", "life").problems).toEqual(["probe life: expected startup, liveness or readiness"]);
  });

  test("others take nothing", () => {
    expect(parse("discover", "0000:3b:02.1").problems).toEqual(['unexpected argument "0000:3b:02.1"']);
  });
});

describe("the help", () => {
  const helps = [helpText(), ...Object.keys(commands).map((name) => commandHelp(name as Command))];

  test.each(Object.entries(options) as [string, Option][])(
    "has --%s for the commands that take it alone",
    (name, option) => {
      for (const command of Object.keys(commands) as Command[]) {
        const lines = commandHelp(command)
          .split("\n")
          .filter((line) => new RegExp(`^ +--${name}(?![\\w-])`).test(line));
        const { for: takers = ["run"] } = option;
        expect(lines).toHaveLength(takers === "all" || takers.includes(command) ? 1 : 0);
        for (const alias of option.aliases ?? []) for (const line of lines) expect(line).toContain(`, -${alias}`);
      }
      const text = helps.join("\n").replaceAll(/\s+/g, " ");
      expect(text).toContain(option.help);
      expect(text).not.toContain("(default )");
      if ((typeof option.default === "string" && option.default !== "") || option.default === true)
        expect(text).toContain(`(default ${option.default})`);
    },
  );

  test("has every command", () => {
    const [help = ""] = helps;
    for (const [name, { help: text }] of Object.entries(commands))
      expect(help.replaceAll(/\n {20,}/g, " ")).toMatch(new RegExp(`^  ${name}( \\S+)?\\s+${text.slice(0, 9)}`, "m"));
  });

  test("of a command has at least two examples, which the command line takes", () => {
    for (const [name, { examples }] of Object.entries(commands) as [string, CommandRow][]) {
      expect(examples.length).toBeGreaterThanOrEqual(2);
      expect(commandHelp(name as Command)).toContain(`Usage: sriovdp ${name}`);
      for (const [args] of examples) {
        const own = args.replace(/ *[|>].*/, "").split(" ");
        expect({ args, problems: parse(...own).problems }).toEqual({ args, problems: [] });
        expect(commandHelp(name as Command)).toContain(`  sriovdp ${args}\n`);
      }
    }
  });

  test("fits into 100 columns of ASCII", () => {
    for (const help of helps) {
      expect(help.split("\n").filter((line) => line.length > 100)).toEqual([]);
      expect(help).not.toMatch(/[^\n -~]/);
    }
  });
});

test("a command takes the options that name it, and those for all", () => {
  const names = (command: Command) => optionsOf(command).map(([name]) => name);
  expect(names("schema")).toEqual(["help", "version"]);
  expect(names("validate")).toEqual(expect.arrayContaining(["config-file", "no-node", "strict", "output", "help"]));
  expect(names("validate")).not.toContain("all");
  expect(names("run")).toContain("log-level");
  expect(names("run")).not.toContain("logtostderr");
});

describe("paths", () => {
  const paths = (...args: string[]) => pathsOf(parse(...args));

  test("are the node's own by default", () => {
    expect(paths()).toEqual({
      root: "",
      configFile: "/etc/pcidp/config.json",
      kubeletRoot: "/var/lib/kubelet",
      devicePlugins: "/var/lib/kubelet/device-plugins",
      statusSockets: ["/run/sriovdp/status.sock", "/var/lib/kubelet/plugins_registry/.sriovdp-status.sock"],
    });
  });

  test("stand below the root, unless they were named", () => {
    expect(paths("--root=/tree/")).toEqual({
      root: "/tree",
      configFile: "/tree/etc/pcidp/config.json",
      kubeletRoot: "/tree/var/lib/kubelet",
      devicePlugins: "/tree/var/lib/kubelet/device-plugins",
      statusSockets: ["/tree/run/sriovdp/status.sock", "/tree/var/lib/kubelet/plugins_registry/.sriovdp-status.sock"],
    });
    expect(paths("--root=/tree", "--config-file=c.json", "--kubelet-root-dir=/k/", "--status-socket=/s")).toEqual({
      root: "/tree",
      configFile: "c.json",
      kubeletRoot: "/k",
      devicePlugins: "/tree/var/lib/kubelet/device-plugins",
      statusSockets: ["/s"],
    });
  });
});
