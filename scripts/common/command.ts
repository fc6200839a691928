// How does a script run another program to its end?

/** Runs a program in a folder and returns what it printed; throws with its standard error when it fails. */
export function commandIn(cwd: string, program: string, ...args: readonly string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([program, ...args], { cwd, stdout: "pipe", stderr: "pipe" });
  if (!success) {
    throw new Error(`${[program, ...args].join(" ")}: ${stderr.toString().trim() || stdout.toString().trim()}`);
  }
  return stdout.toString();
}

/** The same in the folder in which the script runs. */
export const command = (program: string, ...args: readonly string[]): string => commandIn(".", program, ...args);
