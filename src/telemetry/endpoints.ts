// Serves status, probes and metrics: by HTTP on a unix socket that only root may open, and on an address where one was
// given. Neither is needed for the plugin's work: what can't be opened is logged, and retried.

import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";
import { identityOf } from "../fs/identity.ts";
import { hiddenName, isListening, removeIf } from "../fs/socket-file.ts";
import { limits } from "../limits.ts";
import type { LogAt } from "../process/log-messages.ts";
import { messageOf } from "../text.ts";
import { exposition } from "./exposition.ts";
import type { Journal } from "./journal.ts";
import type { Address } from "./addresses.ts";
import type { NodeView, PluginView } from "./node-view.ts";
import { processFacts } from "./process-facts.ts";
import { fullStatus, type Status } from "./plugin-status.ts";
import type { ProbeResult } from "./probes.ts";

/** The source of the answers. */
export interface StatusSource {
  readonly journal: Journal;
  /** The last lines of the log. */
  readonly log: () => string;
  readonly status: () => Status;
  readonly node: () => NodeView;
  readonly allocations: () => Promise<readonly AllocatedDevice[]>;
  readonly liveness: () => ProbeResult;
  readonly readiness: () => Promise<ProbeResult>;
  /** Whether a scrape has a series for each allocated device. */
  readonly podDevices: boolean;
}

/**
 * How often it is checked whether the socket is where clients find it, in milliseconds; more often while another instance has
 * its own there, so that no probe of this one fails often enough to restart it when the other one ends; and while the address of
 * the metrics cannot be used, as that of the old instance in an update, which ends as soon as this one is ready.
 */
const recheck = { usually: 15_000, displaced: 2000 } as const;

/** The endpoints of the running plugin. */
export class Endpoints {
  readonly #source: StatusSource;
  readonly #places: readonly string[];
  readonly #address: Address | null;
  readonly #log: LogAt<"info" | "warn">;
  #timer: Timer | null = null;
  #local: { readonly server: Closing; readonly path: string; readonly identity: string } | null = null;
  #remote: Closing | null = null;
  #complained = false;
  #addressWasTaken = false;
  #checking = false;
  #closed = false;

  /** Opens the first of the places that a socket can be made at, and the address, if any. */
  constructor(source: StatusSource, places: readonly string[], address: Address | null, log: LogAt<"info" | "warn">) {
    this.#source = source;
    this.#places = places;
    this.#log = log;
    this.#openLocal();
    this.#address = address;
    this.#openRemote();
    this.#later(false);
  }

  close(): void {
    this.#closed = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#closeLocal();
    this.#remote?.close();
  }

  #closeLocal(): void {
    if (!this.#local) return;
    const { server, path, identity } = this.#local;
    this.#local = null;
    removeIf(path, identity);
    server.close();
  }

  /**
   * Puts the socket back where another instance had its own and is gone, or where it was removed; and opens an address
   * that was taken, as it is while another instance ends.
   */
  async check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    this.#openRemote();
    const inPlace = this.#local !== null && identityOf(this.#local.path) === this.#local.identity;
    const displaced = !inPlace && this.#local !== null && (await isListening(this.#local.path));
    this.#checking = false;
    if (this.#closed) return;
    if (!inPlace && !displaced) {
      this.#closeLocal();
      this.#openLocal();
    }
    this.#later(displaced);
  }

  #later(displaced: boolean): void {
    if (this.#timer) clearTimeout(this.#timer);
    const isMissing = this.#address !== null && this.#remote === null;
    this.#timer = setTimeout(() => void this.check(), displaced || isMissing ? recheck.displaced : recheck.usually);
  }

  #openLocal(): void {
    const reasons: string[] = [];
    for (const path of this.#places) {
      try {
        this.#local = { ...listen(path, (request) => this.#answer(request, true)), path };
        if (this.#complained || path !== this.#places[0]) this.#log.info("status socket is open", { path });
        this.#complained = false;
        return;
      } catch (error) {
        reasons.push(messageOf(error));
      }
    }
    if (!this.#complained)
      this.#log.warn("cannot open a status socket: status, probe and metrics are unavailable; retrying", {
        reason: reasons.join("; "),
      });
    this.#complained = true;
  }

  #openRemote(): void {
    if (!this.#address || this.#remote) return;
    const { host, port } = this.#address;
    const reasons: string[] = [];
    // For all addresses of the node: those of IPv6 too, unless its kernel has no IPv6.
    for (const hostname of host === "" ? ["::", "0.0.0.0"] : [host]) {
      try {
        this.#remote = serve({ hostname, port }, (request) => this.#answer(request, false));
        if (this.#addressWasTaken) this.#log.info("serving metrics", { host, port });
        return;
      } catch (error) {
        reasons.push(`${(error as NodeJS.ErrnoException).code ?? ""} ${messageOf(error)}`.trim());
      }
    }
    if (!this.#addressWasTaken)
      this.#log.warn("cannot serve metrics; retrying", {
        host,
        port,
        reason: reasons.join("; "),
      });
    this.#addressWasTaken = true;
  }

  async #answer(request: Request, local: boolean): Promise<Response> {
    if (request.method !== "GET" && request.method !== "HEAD") return plain(405, "only GET is answered");
    switch (new URL(request.url).pathname) {
      case "/livez":
        return probeAnswer(this.#source.liveness());
      case "/readyz":
        return probeAnswer(await this.#source.readiness());
      case "/metrics":
        return this.#metrics(request.headers.get("accept") ?? "");
      case "/status":
        if (local) return reply(200, "application/json", `${JSON.stringify(await this.#status())}\n`);
        break;
      case "/node":
        if (local) return reply(200, "application/json", `${JSON.stringify(await this.#node())}\n`);
        break;
      case "/log":
        if (local) return reply(200, "text/plain; charset=utf-8", this.#source.log());
    }
    return plain(404, `there is ${local ? "/status, /node, /log, " : ""}/metrics, /livez and /readyz`);
  }

  #status() {
    return fullStatus(this.#source.status(), this.#source.allocations);
  }

  async #node(): Promise<PluginView> {
    // Of one moment: what is read for the status takes time, in which a scan may end.
    const [seen, status] = [this.#source.node(), this.#status()];
    return { ...seen, status: await status };
  }

  async #metrics(accept: string): Promise<Response> {
    const { journal, podDevices } = this.#source;
    const seen = { status: await this.#status(), journal, podDevices, process: processFacts() };
    const { body, contentType } = await exposition(seen, accept);
    return reply(200, contentType, body);
  }
}

interface Closing {
  close(): void;
}

const reply = (status: number, contentType: string, body: string): Response =>
  new Response(body, { status, headers: { "Content-Type": contentType, "Cache-Control": "no-store" } });

/** An answer of text lines; the last one is ended here. */
const plain = (status: number, text: string): Response => reply(status, "text/plain; charset=utf-8", `${text}\n`);

/** Serves HTTP; throws when the place is taken or can't be made. */
function serve(
  place: { readonly unix: string } | { readonly hostname: string; readonly port: number },
  answer: (request: Request) => Promise<Response>,
): Closing {
  const options = {
    development: false,
    fetch: answer,
    error: (error: Error) => plain(500, messageOf(error)),
  } as const;
  const server = "unix" in place ? Bun.serve({ ...place, ...options }) : Bun.serve({ ...place, ...options });
  return { close: () => void server.stop(true) };
}

const probeAnswer = ({ ok, reasons }: ProbeResult) => plain(ok ? 200 : 503, ok ? "ok" : reasons.join("\n"));

/** Binds under a hidden name, never open to others, and renames into place. */
function listen(path: string, answer: (request: Request) => Promise<Response>) {
  // Bound under a shorter name, it would exist and no client could connect.
  if (Buffer.byteLength(path) > limits.socketPath.max)
    throw new Error(`${path} is longer than the ${limits.socketPath.max} bytes of a socket's path`);
  const folder = dirname(path);
  // Not the kubelet's folders: where they are missing they are the kubelet's to make.
  if (!existsSync(folder) && !folder.endsWith("/plugins_registry")) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const hidden = hiddenName(folder);
  const mask = process.umask(0o177);
  let server: Closing;
  try {
    server = serve({ unix: hidden }, answer);
  } finally {
    process.umask(mask);
  }
  try {
    const identity = identityOf(hidden);
    if (identity === null) throw new Error(`${hidden} was deleted while a socket was bound to it`);
    renameSync(hidden, path);
    return { server, identity };
  } catch (error) {
    server.close();
    rmSync(hidden, { force: true });
    throw error;
  }
}
