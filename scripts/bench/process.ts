// What does a process cost? Its CPU time, memory and system calls, as the kernel counts them.

import { readdirSync, readFileSync, rmSync } from "node:fs";

/** The CPU time of a process' threads in milliseconds, by thread (field 1 of schedstat, in nanoseconds). */
export function cpuByThread(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8");
      times.set(thread, Number(text.split(" ")[0]) / 1e6);
    } catch {
      // It ended meanwhile.
    }
  }
  return times;
}

/** CPU time since an earlier reading, in milliseconds; threads that ended in between count for nothing. */
export function cpuSince(pid: number, earlier: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [thread, time] of cpuByThread(pid)) sum += time - (earlier.get(thread) ?? 0);
  return sum;
}

/** Memory in MiB: resident, the process' share of it, and what no file backs. */
export interface Memory {
  readonly rss: number;
  readonly pss: number;
  readonly private: number;
}

/** Reads the memory of a process. */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const mib = (field: string) => Number(new RegExp(`^${field}: +(\\d+) kB`, "m").exec(text)?.[1]) / 1024;
  return { rss: mib("Rss"), pss: mib("Pss"), private: mib("Pss_Anon") };
}

/** How often each system call was made, threads included. */
export type Calls = ReadonlyMap<string, number>;

/** The arguments that make strace write each call of a command on a line of a file; its numbers and strings are of no use here. */
export const straceInto = (file: string): string[] => ["strace", "-f", "-qq", "-s", "256", "-o", file];

/** Counts the calls in lines that strace wrote; those that waiting and memory cost are left out, since time decides on their number. */
export function countCalls(text: string): Calls {
  const calls = new Map<string, number>();
  for (const line of text.split("\n")) {
    const call = /^\d+ +(\w+)\(/.exec(line)?.[1];
    if (call !== undefined && !incidental.test(call)) calls.set(call, (calls.get(call) ?? 0) + 1);
  }
  return calls;
}

const incidental =
  /^(futex|epoll_.*|poll|ppoll|madvise|m(un)?map|mprotect|mremap|brk|clock_.*|nanosleep|sched_.*|rt_sig.*|clone3?|exit|set_robust_list|rseq|prctl|getrandom|membarrier|restart_syscall|gettid|getpid|tgkill|sigaltstack)$/;

/** The sum of some calls, or of all. */
export const sumOf = (calls: Calls, ...names: readonly string[]): number =>
  [...calls].reduce((sum, [name, count]) => sum + (names.length === 0 || names.includes(name) ? count : 0), 0);

/** The calls that a command makes from its start to its end; null where there is no strace. Rejects when the command fails. */
export function callsOf(command: readonly string[], scratch: string): Calls | null {
  if (Bun.which("strace") === null) return null;
  try {
    const { success, stderr } = Bun.spawnSync([...straceInto(scratch), ...command], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    });
    if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
    return countCalls(readFileSync(scratch, "utf8"));
  } finally {
    rmSync(scratch, { force: true });
  }
}
