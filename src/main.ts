// The program: flags → command, or config → agent → signal → close. The only place that ends the process.

import { logFolder } from "./host/node-paths.ts";
import { Agent } from "./agent/agent.ts";
import { ConfigError } from "./agent/running-config.ts";
import { runs } from "./cli/commands.ts";
import { commandHelp, helpText } from "./cli/commands/help.ts";
import { draDriverOf } from "./cli/dra-driver.ts";
import { exitStatus, output } from "./cli/output.ts";
import { type CommandLine, parseCommandLine } from "./cli/parse.ts";
import { pathsOf } from "./cli/paths.ts";
import { formatProblem } from "./config/problem.ts";
import { ddpAnswer, ddpCommand } from "./host/ddp.ts";
import { createLog } from "./process/log.ts";
import type { LogReport } from "./process/log-messages.ts";
import { messageOf } from "./text.ts";
import { IdleMemory } from "./process/idle-memory.ts";
import { managerOf, ServiceNotices } from "./process/systemd.ts";
import { Endpoints } from "./telemetry/endpoints.ts";
import { parseAddress } from "./telemetry/addresses.ts";
import { commit, version } from "./process/build-info.ts";

async function main(): Promise<number> {
  const [, , first, interfaceName = "", product = ""] = process.argv;
  if (first === ddpCommand) {
    output.out(ddpAnswer(interfaceName, product));
    return exitStatus.ok;
  }
  const line = parseCommandLine(process.argv.slice(2));
  if (line.options.help) return help(line);
  if (line.problems.length > 0) {
    for (const problem of line.problems) output.err(`sriovdp: ${problem}\n`);
    output.err(`Try "sriovdp ${line.command === "run" ? "" : `${line.command} `}--help".\n`);
    return exitStatus.operatorMistake;
  }
  const command = line.options.version ? "version" : line.command;
  if (command !== "run") return (await runs[command]())(line, output);
  return run(line);
}

/** --help: that of the command that is named, however wrong the rest of the line is. */
function help({ command, isNamed }: CommandLine): number {
  output.out(isNamed ? commandHelp(command) : helpText());
  return exitStatus.ok;
}

function logOf({ options }: CommandLine, root: string): ReturnType<typeof createLog> {
  const named = options["log-dir"];
  const folder = named === null ? options.log_dir : named.startsWith("/") ? named : logFolder(root, named);
  return createLog({
    format: options["log-format"],
    verbosity: options["log-level"],
    folder: options.logtostderr ? null : folder,
    stderr: named !== null || options.alsologtostderr ? "all" : "errors",
  });
}

const printed = (text: string) => output.err(`${text}\n`);

/** Runs until a signal ends it. As process 1 a program without handlers would ignore SIGTERM, so they come first. */
async function run(line: CommandLine): Promise<number> {
  const { promise: ended, resolve: end } = Promise.withResolvers<string>();
  for (const signal of ["SIGTERM", "SIGINT", "SIGQUIT"] as const) process.on(signal, () => end(signal));
  const paths = pathsOf(line);
  const log = logOf(line, paths.root);
  const notices = new ServiceNotices(managerOf(process.env, process.pid), () => agent.liveness().ok, log);
  const rest = new IdleMemory(log, () => agent.rest());
  let endpoints = null as Endpoints | null;
  const agent = new Agent(
    {
      ...paths,
      resourcePrefix: line.options["resource-prefix"],
      cdi: line.options["use-cdi"] ? line.options["cdi-mode"] : null,
      linkHealth: line.options["link-health"],
      resync: line.options["resync-interval"] * 1000,
      draDriverName: line.options["dra-driver-name"],
      dra: line.options.allocator === "dra" ? draDriverOf(line.options) : null,
    },
    log,
    {
      // Not before: a start that fails must not take the socket from an instance that runs.
      starting: () =>
        (endpoints = new Endpoints(
          source,
          paths.statusSockets,
          parseAddress(line.options["metrics-address"] ?? ""),
          log,
        )),
      waiting: () => notices.waiting(),
      serving: (offer) => notices.serving(offer),
      activity: () => rest.noteActivity(),
    },
  );
  const source = {
    journal: agent.journal,
    log: () => log.recent(),
    allocations: () => agent.allocations(),
    status: () => agent.status(),
    node: () => agent.node(),
    liveness: () => agent.liveness(),
    readiness: () => agent.readiness(),
    podDevices: line.options["pod-device-metrics"],
  };
  log.info("starting", { version, commit });
  if (line.options.allocator === "dra" && line.options["use-cdi"])
    log.warn("--use-cdi has no effect with --allocator=dra, which always uses CDI");
  if (line.given.has("cdi-mode") && !line.options["use-cdi"]) log.warn("--cdi-mode has no effect without --use-cdi");
  process.on("SIGHUP", () => {
    void notices.reloading(() => agent.reload());
    void endpoints?.check();
  });
  try {
    const failed = new Promise<never>((_, reject) => {
      agent.run().catch(reject);
      // Bun's own report of an uncaught error would show the error's fields, whatever they contain.
      process.on("uncaughtException", reject);
      process.on("unhandledRejection", reject);
    });
    const signal = await Promise.race([ended, failed]);
    log.info("exiting", { signal });
    return exitStatus.ok;
  } catch (error) {
    if (!(error instanceof ConfigError)) {
      log.fatal("exiting on an unexpected error; please report it", {
        reason: messageOf(error),
        stack: error instanceof Error ? error.stack : null,
      });
      return exitStatus.failure;
    }
    const report = line.options["log-format"] === "json" ? (text: LogReport) => log.error(text) : printed;
    for (const problem of error.problems) report(formatProblem(paths.configFile, problem));
    report(`sriovdp: ${error.message}; nothing was started`);
    return exitStatus.operatorMistake;
  } finally {
    rest.close();
    notices.close();
    endpoints?.close();
    await agent.close();
    await log.finish();
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    // The reader of our output has closed it, as `head` does.
    if ((error as NodeJS.ErrnoException | null)?.code === "EPIPE") process.exit(exitStatus.failure);
    output.err(`sriovdp: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(exitStatus.failure);
  },
);
