// A simulated Kubernetes API server, over real TLS on loopback: objects of one kind with get, list, watch, create, update and delete
// as the real one does them, and for single requests anything else that a server, or what is before it, can do wrong.

import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isDeepStrictEqual } from "node:util";
import type { KubeObject } from "../../src/kube/api-client.ts";
import { type Authority, anAuthority, anIdentity, type Identity } from "./certificates.ts";

/** A request as it came. */
export interface ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** What is done with a request in place of what an API server does. */
export type Misbehaviour = (request: ApiRequest, response: ServerResponse) => void;

interface Change {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
}

/** An open watch. */
interface Watch {
  readonly response: ServerResponse;
  readonly fieldSelector: string;
}

type Fields = Readonly<Record<string, unknown>>;

/** The value at "spec.nodeName" of an object, "" when there is none. */
const fieldAt = (object: unknown, path: string): string => {
  const found = path.split(".").reduce<unknown>((value, key) => (value as Fields | undefined)?.[key], object);
  return typeof found === "string" ? found : "";
};

const isSelected = (object: unknown, fieldSelector: string): boolean =>
  fieldSelector
    .split(",")
    .filter((term) => term !== "")
    .every((term) => {
      const [path = "", value = ""] = term.split("=");
      return fieldAt(object, path) === value;
    });

export class ApiServer {
  readonly authority: Authority;
  readonly requests: ApiRequest[] = [];
  /** Tokens that are let in; null lets everybody in. */
  accepted: ReadonlySet<string> | null = null;
  /** What is made of an object that is written: fields may be dropped or added. */
  admit: (object: KubeObject) => KubeObject = (object) => object;
  /** Objects of other kinds, by their paths. */
  readonly others = new Map<string, KubeObject>();
  readonly #kind: { readonly apiVersion: string; readonly kind: string; readonly plural: string };
  readonly #objects = new Map<string, KubeObject>();
  readonly #changes: Change[] = [];
  readonly #watches = new Set<Watch>();
  readonly #misbehaviours: { readonly matches: (request: ApiRequest) => boolean; readonly act: Misbehaviour }[] = [];
  /** How many connections there were. */
  connections = 0;
  #server: Server | null = null;
  #port = 0;
  #version = 100;
  /** Versions before this one can't be watched from. */
  #oldest = 100;

  constructor(
    kind: { readonly apiVersion: string; readonly kind: string; readonly plural: string },
    authority = anAuthority(),
  ) {
    this.#kind = kind;
    this.authority = authority;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get port(): number {
    return this.#port;
  }

  /** The open watches. */
  get watches(): number {
    return this.#watches.size;
  }

  /** Listens, on the port that it had before when it was stopped. */
  async start(identity: Identity = anIdentity(this.authority, "kube-apiserver", ["127.0.0.1"])): Promise<this> {
    const { certificate, key } = identity;
    const server = createServer(
      { cert: certificate, key },
      (incoming, response) => void this.#serve(incoming, response),
    );
    server.on("secureConnection", () => this.connections++);
    await new Promise<void>((resolve) => server.listen(this.#port, "127.0.0.1", resolve));
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    return this;
  }

  /** Ends like a killed process: connections are cut, nothing is finished. */
  async stop(): Promise<void> {
    this.cutWatches();
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  /** Handles the next matching request by `act`, instead of answering it. */
  misbehave(act: Misbehaviour, matches: (request: ApiRequest) => boolean = () => true): void {
    this.#misbehaviours.push({ matches, act });
  }

  /** From now on all requests are answered as an API server does it. */
  behave(): void {
    this.#misbehaviours.length = 0;
  }

  /** Puts an object there, or another state of it, as any client of the cluster could. */
  set<T extends KubeObject>(object: T): T {
    const { name } = object.metadata;
    const before = this.#objects.get(name);
    const uid = before?.metadata.uid ?? crypto.randomUUID();
    const metadata = { ...object.metadata, uid, resourceVersion: String(++this.#version) };
    const stored = { ...object, metadata };
    this.#objects.set(name, stored);
    this.#publish({ type: before ? "MODIFIED" : "ADDED", object: stored });
    return stored;
  }

  /** The objects as they are now. */
  get objects(): readonly KubeObject[] {
    return [...this.#objects.values()];
  }

  remove(name: string): void {
    const before = this.#objects.get(name);
    if (!before) return;
    this.#objects.delete(name);
    const metadata = { ...before.metadata, resourceVersion: String(++this.#version) };
    this.#publish({ type: "DELETED", object: { ...before, metadata } });
  }

  /** Forgets all changes so far, as etcd's compaction does: no watch can begin from before. */
  compact(): void {
    this.#oldest = ++this.#version;
    this.#changes.length = 0;
  }

  /** Sends a bookmark with the current version to all watches. */
  bookmark(): void {
    const object = { ...this.#meta(), metadata: { resourceVersion: String(this.#version), creationTimestamp: null } };
    this.send(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  /** Sends bytes to all watches. */
  send(text: string): void {
    for (const { response } of this.#watches) response.write(text);
  }

  /** Ends all watches in good order, as at timeoutSeconds. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  /** Cuts the connections of all watches. */
  cutWatches(): void {
    for (const { response } of this.#watches) response.destroy();
  }

  #meta(): { readonly apiVersion: string; readonly kind: string } {
    return { apiVersion: this.#kind.apiVersion, kind: this.#kind.kind };
  }

  #publish(change: Change): void {
    this.#changes.push(change);
    for (const watch of this.#watches) this.#notify(watch, change);
  }

  #notify({ response, fieldSelector }: Watch, { type, object }: Change): void {
    if (isSelected(object, fieldSelector)) response.write(`${JSON.stringify({ type, object })}\n`);
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on("error", () => {});
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece as Buffer);
    const url = new URL(incoming.url ?? "", this.url);
    const request: ApiRequest = {
      method: incoming.method ?? "",
      path: url.pathname,
      query: url.searchParams,
      headers: incoming.headers,
      body: Buffer.concat(pieces).toString(),
    };
    this.requests.push(request);
    const index = this.#misbehaviours.findIndex(({ matches }) => matches(request));
    const [misbehaviour] = index < 0 ? [] : this.#misbehaviours.splice(index, 1);
    if (misbehaviour) misbehaviour.act(request, response);
    else this.#answer(request, response);
  }

  #answer(request: ApiRequest, response: ServerResponse): void {
    const { method, path, query, headers } = request;
    const token = headers.authorization?.replace(/^Bearer /, "") ?? "";
    if (this.accepted !== null && !this.accepted.has(token)) return refuse(response, 401, "Unauthorized");
    const other = this.others.get(path);
    if (other && method === "GET") return reply(response, 200, other);
    const { apiVersion, plural } = this.#kind;
    const root = `${apiVersion.includes("/") ? "/apis" : "/api"}/${apiVersion}/`;
    const match = path.startsWith(root)
      ? new RegExp(`^(?:namespaces/[^/]+/)?${plural}(?:/([^/]+))?$`).exec(path.slice(root.length))
      : null;
    if (!match) {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("404 page not found\n");
      return;
    }
    const [, name] = match;
    if (query.get("watch") === "true") return this.#watch(request, response);
    if (method === "POST") return this.#create(request, response);
    if (name === undefined) return this.#list(request, response);
    const object = this.#objects.get(name);
    if (!object) return refuse(response, 404, "NotFound", `${plural} "${name}" not found`, { name, kind: plural });
    if (method === "GET") return reply(response, 200, object);
    if (method === "PUT") return this.#update(object, request, response);
    const { preconditions } = JSON.parse(request.body) as { preconditions?: { uid?: string } };
    if ((preconditions?.uid ?? object.metadata.uid) !== object.metadata.uid)
      return refuse(response, 409, "Conflict", "the UID in the precondition does not match");
    this.remove(name);
    reply(response, 200, { kind: "Status", apiVersion: "v1", status: "Success", details: { name } });
  }

  #list({ query }: ApiRequest, response: ServerResponse): void {
    const items = [...this.#objects.values()].filter((object) => isSelected(object, query.get("fieldSelector") ?? ""));
    reply(response, 200, {
      apiVersion: this.#kind.apiVersion,
      kind: `${this.#kind.kind}List`,
      metadata: { resourceVersion: String(this.#version) },
      // As the real one: items have neither apiVersion nor kind.
      items: items.map((item) => ({ ...item, apiVersion: undefined, kind: undefined })),
    });
  }

  #create({ body, query }: ApiRequest, response: ServerResponse): void {
    const object = this.admit(JSON.parse(body) as KubeObject);
    if (query.get("dryRun") === "All") return reply(response, 201, object);
    const { name } = object.metadata;
    if (this.#objects.has(name))
      return refuse(response, 409, "AlreadyExists", `${this.#kind.plural} "${name}" already exists`, { name });
    reply(response, 201, this.set(object));
  }

  #update(before: KubeObject, { body }: ApiRequest, response: ServerResponse): void {
    const object = this.admit(JSON.parse(body) as KubeObject);
    if (object.metadata.resourceVersion !== before.metadata.resourceVersion)
      return refuse(
        response,
        409,
        "Conflict",
        "the object has been modified; please apply your changes to the latest version",
      );
    // As the real one: what changes nothing is no write.
    reply(response, 200, isDeepStrictEqual(object, before) ? before : this.set(object));
  }

  #watch({ query }: ApiRequest, response: ServerResponse): void {
    const from = Number(query.get("resourceVersion"));
    if (from < this.#oldest) return refuse(response, 410, "Expired", `too old resource version: ${from}`);
    const watch = { response, fieldSelector: query.get("fieldSelector") ?? "" };
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    this.#watches.add(watch);
    response.on("close", () => this.#watches.delete(watch));
    for (const change of this.#changes)
      if (Number(change.object.metadata.resourceVersion) > from) this.#notify(watch, change);
  }
}

/** Answers with a value as JSON. */
export function reply(
  response: ServerResponse,
  code: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(code, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(value));
}

/** Answers with a Status, as the API server refuses. */
export function refuse(
  response: ServerResponse,
  code: number,
  reason: string,
  message = reason,
  details: Readonly<Record<string, unknown>> = {},
  headers: Readonly<Record<string, string>> = {},
): void {
  const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, details, code };
  reply(response, code, status, headers);
}
