// The cluster's API over a Unix socket, by kubectl's proxy: a request takes milliseconds, which a kubectl for each would not, and needs no
// way into the namespace of the control plane.

import { kubectlCommand } from "./kubectl.ts";
import type { Namespace } from "./namespace.ts";
import { waitForValue } from "../support/wait-for.ts";

/** What the API server answers that is no object. */
export class ApiError extends Error {}

export class ApiProxy {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** Throws an ApiError with the server's message unless the request succeeds. */
  async request<T>(method: "GET" | "POST" | "DELETE", path: string, object?: object): Promise<T> {
    const response = await fetch(`http://localhost${path}`, {
      method,
      unix: this.#socket,
      headers: { "Content-Type": "application/json" },
      ...(object && { body: JSON.stringify(object) }),
    });
    const answer = (await response.json()) as { readonly message?: string };
    if (!response.ok) throw new ApiError(`${method} ${path}: ${response.status} ${answer.message ?? ""}`);
    return answer as T;
  }

  get<T>(path: string): Promise<T> {
    return this.request<T>("GET", path);
  }

  create(path: string, object: object): Promise<unknown> {
    return this.request("POST", path, object);
  }

  remove(path: string): Promise<unknown> {
    return this.request("DELETE", path);
  }
}

/** Starts the proxy of a user in the namespace, and waits until it listens at the socket. */
export async function startApiProxy(
  namespace: Namespace,
  kubernetes: string,
  kubeconfig: string,
  socket: string,
): Promise<ApiProxy> {
  const { pid } = namespace;
  namespace.start("kubectl-proxy", [
    ...kubectlCommand(pid, kubernetes, kubeconfig),
    "proxy",
    `--unix-socket=${socket}`,
  ]);
  const api = new ApiProxy(socket);
  await waitForValue("kubectl's proxy answers", () => api.get("/version"), { seconds: 120, pace: 50 });
  return api;
}
