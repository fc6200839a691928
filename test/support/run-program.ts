// Runs a program to its end while the test's own servers go on: Bun.spawnSync would stop them.

/** How a program ended, and what it printed. */
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where and how a program runs. */
export interface ProgramOptions {
  /** The whole environment; the test's own where it is missing. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** What it reads from standard input; nothing by default. */
  readonly stdin?: string;
  /** Milliseconds until it is killed; by default it is not. */
  readonly timeout?: number;
}

/** Runs a program to its end; does not throw when it fails. */
export async function runProgram(
  command: readonly string[],
  { stdin, env = process.env, ...options }: ProgramOptions = {},
): Promise<Ended> {
  const program = Bun.spawn([...command], {
    ...options,
    env: { ...env },
    stdin: stdin === undefined ? "ignore" : new Blob([stdin]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(program.stdout).text(),
    new Response(program.stderr).text(),
    program.exited,
  ]);
  return { status, stdout, stderr };
}
