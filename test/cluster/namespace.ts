// A network namespace that has nothing but lo, and the programs in it: what they listen on takes no port of the machine, and what they send
// reaches nothing outside. All of them end with this process, however it ends.

import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

/** A program that runs until it is stopped. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<number>;
  running(): boolean;
  kill(): Promise<void>;
}

export interface Namespace {
  /** The process whose namespace it is: what `nsenter --target` takes. */
  readonly pid: number;
  /** Starts a program; its output goes to NAME.log in the folder of the logs. */
  start(name: string, command: readonly string[]): Program;
  /** Ends all programs, the youngest first, and with the last of them the namespace. */
  stop(): Promise<void>;
}

/** The words before a command that run it in the namespace of a process. */
export const inNamespace = (pid: number): string[] => ["nsenter", `--target=${pid}`, "--net", "--"];

/** The words before a command that end it with this process, also where that is killed and none of its own code runs any more. */
export const endsWithUs: readonly string[] = ["setpriv", "--pdeathsig=KILL", "--"];

/**
 * Makes a namespace; `addresses` are further ones of its lo. Connections to these come from 127.0.0.1, for QEMU hands the sender's address on
 * to the guest, which drops what claims to come from itself. Throws when that fails: root is needed.
 */
export async function makeNamespace(addresses: readonly string[], logs: string): Promise<Namespace> {
  const programs: Program[] = [];
  function start(name: string, command: readonly string[]): Program {
    const log = openSync(join(logs, `${name}.log`), "a");
    const started = Bun.spawn([...endsWithUs, ...command], { stdin: "ignore", stdout: log, stderr: log });
    closeSync(log);
    const program: Program = {
      name,
      pid: started.pid,
      exited: started.exited,
      running: () => started.exitCode === null && started.signalCode === null,
      kill: async () => {
        started.kill("SIGKILL");
        await started.exited;
      },
    };
    programs.push(program);
    return program;
  }

  const { pid } = start("namespace", ["unshare", "--net", "--", "sleep", "infinity"]);
  const script = ["ip link set lo up"];
  for (const address of addresses) {
    script.push(`ip address add ${address}/32 dev lo`);
    script.push(`ip route replace local ${address} dev lo table local proto kernel scope host src 127.0.0.1`);
  }
  await insideOf(pid);
  run([...inNamespace(pid), "sh", "-euc", script.join("\n")]);
  return {
    pid,
    start: (name, command) => start(name, [...inNamespace(pid), ...command]),
    stop: async () => {
      for (const program of programs.toReversed()) await program.kill();
    },
  };
}

/** Runs a command to its end, and returns what it prints; throws with its errors unless it succeeds. */
export function run(command: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr}`);
  return stdout.toString();
}

/** Waits until the process has left our namespace for its own. */
async function insideOf(pid: number): Promise<void> {
  const namespace = (of: number | "self") => run(["readlink", `/proc/${of === "self" ? process.pid : of}/ns/net`]);
  for (let tries = 0; tries < 500; tries += 1) {
    if (namespace(pid) !== namespace("self")) return;
    await Bun.sleep(10);
  }
  throw new Error("no network namespace can be made");
}
