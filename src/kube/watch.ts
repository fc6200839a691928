// What changes in the cluster? The events of one watch, and a mirror of a selection that is kept up to date by list and watch, as
// long as its signal lasts, whatever the API server does meanwhile (kubernetes.io/docs/reference/using-api/api-concepts).

import { apiServerLimits } from "../limits.ts";
import { BackOff } from "../process/back-off.ts";
import type { Access } from "./access.ts";
import { linesOf } from "./body.ts";
import {
  contextOf,
  failureOf,
  type Kind,
  type KubeObject,
  listObjects,
  openResponse,
  pathOf,
  queryOf,
  type Selection,
  standardLimit,
  understood,
} from "./api-client.ts";
import { Deadline } from "./deadline.ts";
import { KubeError, type RequestContext, watchError } from "./errors.ts";

/** An event of a watch. A bookmark only carries a newer version to resume from. */
export type WatchEvent<T> =
  | { readonly type: "set" | "deleted"; readonly object: T; readonly resourceVersion: string }
  | { readonly type: "bookmark"; readonly resourceVersion: string };

/** Times of a watch, in milliseconds. */
export interface WatchTimes {
  /** How long a watch may be silent. The API server sends a bookmark about once a minute. */
  readonly silence: number;
  /** The first wait after a failure, and the longest one. */
  readonly firstWait: number;
  readonly longestWait: number;
  /** A watch that lasted so long is a stable one: it resets the waits. */
  readonly stable: number;
}

export const watchTimes: WatchTimes = { silence: 90_000, firstWait: 500, longestWait: 30_000, stable: 5000 };

/** After how many seconds the server ends a watch; jittered, so that a fleet does not reconnect at once. */
const serverLimit = () => Math.round(300 + Math.random() * 300);

/** What is watched, and how. */
export interface WatchOptions {
  readonly selection: Selection;
  readonly resourceVersion: string;
  /** How long the watch may be silent, in milliseconds. */
  readonly silence: number;
  /** Called when the server has accepted the watch. */
  readonly begun?: () => void;
}

/**
 * The events after a resourceVersion, until the server ends the watch. Throws KubeError: `expired` when the version is too old,
 * `unavailable` when the connection is lost or nothing came for `silence` milliseconds.
 */
export async function* watchEvents<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  { selection, resourceVersion, silence, begun }: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>> {
  const query = queryOf(selection, {
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion,
    timeoutSeconds: String(serverLimit()),
  });
  const path = pathOf(kind, selection);
  const context = contextOf(access, { method: "GET", path: `${path}?watch` });
  const deadline = new Deadline(signal, access.requestLimit ?? standardLimit);
  try {
    const { body } = await openResponse(access, { method: "GET", path: `${path}${query}`, name: "" }, deadline);
    deadline.extend(silence);
    begun?.();
    for await (const line of linesOf(body, apiServerLimits.eventBytes.max)) {
      // Whole lines count: a server that sends byte by byte is none.
      deadline.extend(silence);
      if (line.trim() !== "") yield eventOf(context, kind, line);
    }
  } catch (error) {
    throw failureOf(context, error, signal, deadline);
  } finally {
    deadline.close();
  }
}

const changes = { ADDED: "set", MODIFIED: "set", DELETED: "deleted" } as const;

function eventOf<T extends KubeObject>(context: RequestContext, kind: Kind<T>, line: string): WatchEvent<T> {
  return understood(context, () => {
    const { type, object } = JSON.parse(line) as { readonly type?: unknown; readonly object?: unknown };
    if (type === "ERROR") throw watchError(context, object);
    if (type === "BOOKMARK") return { type: "bookmark", resourceVersion: versionOf(object as Partial<KubeObject>) };
    if (typeof type !== "string" || !Object.hasOwn(changes, type)) throw new Error(`an event of type ${String(type)}`);
    const parsed = kind.parse(object);
    return { type: changes[type as keyof typeof changes], object: parsed, resourceVersion: versionOf(parsed) };
  });
}

function versionOf({ metadata }: Partial<KubeObject>): string {
  const { resourceVersion = "" } = metadata ?? {};
  if (resourceVersion === "") throw new Error("an event without resourceVersion");
  return resourceVersion;
}

/** Receives what a mirror finds. */
export interface MirrorListener<T> {
  /**
   * The objects as they are now, by name ("NAMESPACE/NAME" for kinds with namespaces), after each list and each change; and the
   * version that this is the state of.
   */
  readonly changed: (objects: ReadonlyMap<string, T>, resourceVersion: string) => void;
  /** The server accepted a watch: it can be reached, and what is known is current or soon will be. */
  readonly begun?: () => void;
  /** A request failed; the next one is sent in `wait` milliseconds. */
  readonly failed: (error: KubeError, wait: number) => void;
}

/**
 * Mirrors a selection until the signal ends, then resolves. It never gives up: every failure is reported, and retried after growing
 * waits. After a lost connection it resumes from the last version that it saw, or from a new list where that is too old. Rejects only
 * when the listener throws.
 */
export async function mirrorObjects<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  selection: Selection,
  listener: MirrorListener<T>,
  signal: AbortSignal,
  times: WatchTimes = watchTimes,
): Promise<void> {
  const mirror = new Mirror(access, kind, selection, listener, times);
  const backOff = new BackOff(times.firstWait, times.longestWait);
  let wasExpired = false;
  while (!signal.aborted) {
    const { error, lasted } = await mirror.follow(signal);
    if (signal.aborted) return;
    const isStable = lasted !== null && lasted >= times.stable;
    if (isStable) backOff.reset();
    const isExpired = error?.kind === "expired";
    // Every watch ends some day; and after an outage of the server its first answer is that the version is too old.
    const isOrdinary = error === null ? isStable : isExpired && (isStable || !wasExpired);
    wasExpired = isExpired;
    if (isOrdinary) continue;
    const wait = Math.max(backOff.wait(), jittered(error?.retryAfter ?? 0));
    if (error !== null) listener.failed(error, wait);
    await pause(wait, signal);
  }
}

/** Up to a quarter longer, so that clients with the same retry time do not return at once. */
const jittered = (milliseconds: number): number => milliseconds * (1 + Math.random() / 4);

/** Resolves after so many milliseconds, or when the signal ends. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const end = () => resolve();
  signal.addEventListener("abort", end);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", end);
}

/** What is known of a selection, and the version from which a watch can resume. */
class Mirror<T extends KubeObject> {
  readonly #access: Access;
  readonly #kind: Kind<T>;
  readonly #selection: Selection;
  readonly #listener: MirrorListener<T>;
  readonly #times: WatchTimes;
  #objects = new Map<string, T>();
  /** null: a new list is needed. */
  #version: string | null = null;

  constructor(access: Access, kind: Kind<T>, selection: Selection, listener: MirrorListener<T>, times: WatchTimes) {
    this.#access = access;
    this.#kind = kind;
    this.#selection = selection;
    this.#listener = listener;
    this.#times = times;
  }

  /** Lists where that is needed, and follows one watch to its end; gives its error, and how many milliseconds the watch lasted, null when none began. */
  async follow(signal: AbortSignal): Promise<{ readonly error: KubeError | null; readonly lasted: number | null }> {
    let started: number | null = null;
    let error: KubeError | null = null;
    try {
      const version = (this.#version ??= await this.#list(signal));
      const begun = () => {
        started = performance.now();
        this.#listener.begun?.();
      };
      await this.#watch(version, begun, signal);
    } catch (thrown) {
      // Anything else is an error of the listener's.
      if (!(thrown instanceof KubeError)) throw thrown;
      if (thrown.kind === "expired" || thrown.kind === "malformed") this.#version = null;
      error = thrown;
    }
    return { error, lasted: started === null ? null : performance.now() - started };
  }

  async #list(signal: AbortSignal): Promise<string> {
    const { items, resourceVersion } = await listObjects(this.#access, this.#kind, this.#selection, signal);
    this.#objects = new Map(items.map((object) => [keyOf(object), object]));
    this.#listener.changed(new Map(this.#objects), resourceVersion);
    return resourceVersion;
  }

  async #watch(resourceVersion: string, begun: () => void, signal: AbortSignal): Promise<void> {
    const options = { selection: this.#selection, resourceVersion, silence: this.#times.silence, begun };
    for await (const event of watchEvents(this.#access, this.#kind, options, signal)) {
      this.#version = event.resourceVersion;
      if (event.type === "bookmark") continue;
      if (event.type === "set") this.#objects.set(keyOf(event.object), event.object);
      else this.#objects.delete(keyOf(event.object));
      this.#listener.changed(new Map(this.#objects), event.resourceVersion);
    }
  }
}

const keyOf = ({ metadata: { namespace, name } }: KubeObject): string =>
  namespace === undefined ? name : `${namespace}/${name}`;
