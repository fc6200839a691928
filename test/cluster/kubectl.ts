// kubectl, run in the namespace of the control plane.

import { type Ended, runProgram } from "../support/run-program.ts";
import { inNamespace } from "./namespace.ts";

/** The words before the arguments of kubectl: it runs in the namespace of process `pid`. */
export const kubectlCommand = (pid: number, kubernetes: string, kubeconfig: string): string[] => [
  ...inNamespace(pid),
  kubernetes,
  "kubectl",
  `--kubeconfig=${kubeconfig}`,
];

/** The environment of kubectl: caches of what the API server offers are this cluster's alone. */
export const kubectlEnvironment = (kubeconfig: string): Readonly<Record<string, string | undefined>> => ({
  ...process.env,
  KUBECACHEDIR: `${kubeconfig}.cache`,
});

/** Runs kubectl in the namespace of process `pid`; the returned function takes its arguments, and does not throw. */
export function kubectlIn(
  pid: number,
  kubernetes: string,
  kubeconfig: string,
): (...args: readonly (string | { readonly stdin: string })[]) => Promise<Ended> {
  return (...args) => {
    const words = args.filter((arg) => typeof arg === "string");
    const input = args.find((arg) => typeof arg === "object");
    return runProgram([...kubectlCommand(pid, kubernetes, kubeconfig), ...words], {
      ...input,
      env: kubectlEnvironment(kubeconfig),
    });
  };
}
