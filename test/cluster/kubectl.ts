// kubectl, run in the namespace of the control plane.

import { inNamespace } from "./namespace.ts";

/** How a command ended, and what it printed. */
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs kubectl in the namespace of process `pid`; the returned function takes its arguments, and does not throw. */
export function kubectlIn(
  pid: number,
  kubernetes: string,
  kubeconfig: string,
): (...args: readonly (string | { readonly stdin: string })[]) => Promise<Ended> {
  return async (...args) => {
    const words = args.filter((arg) => typeof arg === "string");
    const input = args.find((arg) => typeof arg === "object");
    const command = [...inNamespace(pid), kubernetes, "kubectl", `--kubeconfig=${kubeconfig}`, ...words];
    const kubectl = Bun.spawn(command, {
      stdin: input ? new Blob([input.stdin]) : "ignore",
      stdout: "pipe",
      stderr: "pipe",
      // Caches of what the API server offers are this cluster's alone.
      env: { ...process.env, KUBECACHEDIR: `${kubeconfig}.cache` },
    });
    const [stdout, stderr, status] = await Promise.all([
      new Response(kubectl.stdout).text(),
      new Response(kubectl.stderr).text(),
      kubectl.exited,
    ]);
    return { status, stdout, stderr };
  };
}
