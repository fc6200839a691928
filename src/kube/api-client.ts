// One request to the Kubernetes API: get, list, create, update, delete. Over Bun's fetch, never through a proxy: the environment's
// proxy variables are for other traffic than that of a node to its own API server.

import { apiServerLimits } from "../limits.ts";
import { version } from "../process/build-info.ts";
import type { Access, ApiConnection } from "./access.ts";
import { BodyError, readBeginning, readBody } from "./body.ts";
import { Deadline } from "./deadline.ts";
import { connectionError, kubeError, KubeError, type RequestContext, statusError } from "./errors.ts";
import { messageOf } from "../text.ts";

/** An object of the API, as far as all kinds are the same. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly uid?: string | undefined;
    readonly resourceVersion?: string | undefined;
  };
}

/** A kind of object. */
export interface Kind<T extends KubeObject> {
  /** "v1", "resource.k8s.io/v1" */
  readonly apiVersion: string;
  readonly kind: string;
  /** Its name in paths: "resourceslices". */
  readonly plural: string;
  /** What is read of an object; throws for one of another kind. */
  readonly parse: (value: unknown) => T;
}

/** The name of an object; without namespace for kinds that have none. */
export interface ObjectName {
  readonly name: string;
  readonly namespace?: string | undefined;
}

/** Which objects of a kind. */
export interface Selection {
  readonly namespace?: string;
  /** "spec.nodeName=a,spec.driver=b" */
  readonly fieldSelector?: string;
}

/** Objects of a list, and the version from which a watch sees what changes afterwards. */
export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

/** Reads an object. Rejects with KubeError. */
export async function getObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  name: ObjectName,
  signal: AbortSignal,
): Promise<T> {
  return objectOf(
    kind,
    name.name,
    await request(access, { method: "GET", path: pathOf(kind, name), name: name.name }, signal),
  );
}

/** Reads all objects of a selection, as they are now and not as a cache has them. Rejects with KubeError. */
export async function listObjects<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  selection: Selection,
  signal: AbortSignal,
): Promise<ObjectList<T>> {
  const path = `${pathOf(kind, selection)}${queryOf(selection)}`;
  const { value, context } = await request(access, { method: "GET", path, name: "" }, signal);
  return understood(context, () => {
    const list = value as {
      kind?: unknown;
      items?: unknown;
      metadata?: { resourceVersion?: unknown; continue?: unknown };
    };
    const { resourceVersion, continue: more = "" } = list.metadata ?? {};
    if (list.kind !== `${kind.kind}List`) throw new Error(`expected ${kind.kind}List, found ${String(list.kind)}`);
    if (typeof resourceVersion !== "string" || resourceVersion === "")
      throw new Error("the list has no resourceVersion");
    if (more !== "") throw new Error("the list is incomplete");
    const items = (list.items ?? []) as readonly object[];
    // The items of a list come without apiVersion and kind.
    const whole = items.map((item) => kind.parse({ apiVersion: kind.apiVersion, kind: kind.kind, ...item }));
    return { items: whole, resourceVersion };
  });
}

/** Creates an object; returns it as the server has it. Rejects with KubeError, `alreadyExists` when there is one of this name. */
export async function createObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  object: T,
  signal: AbortSignal,
): Promise<T> {
  return postObject(access, kind, object, "", signal);
}

/** Returns an object as the server would store it if it were created; nothing is stored. Rejects with KubeError. */
export async function validateObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  object: T,
  signal: AbortSignal,
): Promise<T> {
  return postObject(access, kind, object, "?dryRun=All", signal);
}

async function postObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  object: T,
  query: string,
  signal: AbortSignal,
): Promise<T> {
  const { name, namespace } = object.metadata;
  const path = `${pathOf(kind, { namespace })}${query}`;
  return objectOf(kind, name, await request(access, { method: "POST", path, name, body: object }, signal));
}

/**
 * Replaces an object that is still at the resourceVersion that `object` has; returns it as the server has it. Rejects with KubeError,
 * `conflict` when it has changed, and `invalid` without a resourceVersion, since that would overwrite what others wrote.
 */
export async function updateObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  object: T,
  signal: AbortSignal,
): Promise<T> {
  const { name, resourceVersion = "" } = object.metadata;
  const path = pathOf(kind, object.metadata);
  if (resourceVersion === "") throw new KubeError("invalid", `PUT ${path}: the object has no resourceVersion`);
  return objectOf(kind, name, await request(access, { method: "PUT", path, name, body: object }, signal));
}

/** Deletes the object that has this UID, and no other one of the same name. Rejects with KubeError, `notFound` when it is gone. */
export async function deleteObject<T extends KubeObject>(
  access: Access,
  kind: Kind<T>,
  { name, namespace, uid }: ObjectName & { readonly uid: string },
  signal: AbortSignal,
): Promise<void> {
  const body = { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } };
  await request(access, { method: "DELETE", path: pathOf(kind, { name, namespace }), name, body }, signal);
}

/** A name that can't be anything else in a path than a name (RFC 1123 subdomain). */
const nameForm = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/;

/** The path of a kind's objects, or of one of them. */
export function pathOf<T extends KubeObject>(
  { apiVersion, plural }: Kind<T>,
  { name, namespace }: Partial<ObjectName>,
): string {
  for (const part of [name, namespace])
    if (part !== undefined && !nameForm.test(part))
      throw new KubeError("invalid", `${JSON.stringify(part)} is not a name`);
  return [
    apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`,
    ...(namespace === undefined ? [] : [`namespaces/${namespace}`]),
    plural,
    ...(name === undefined ? [] : [name]),
  ].join("/");
}

/** The query of a selection, with further parameters; "" when there are none. */
export function queryOf({ fieldSelector }: Selection, more: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ ...(fieldSelector === undefined ? {} : { fieldSelector }), ...more }).toString();
  return query === "" ? "" : `?${query}`;
}

/** How long a request may take, in milliseconds, unless its access has a limit. */
export const standardLimit = 10_000;

interface Call {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  /** The object that it is about; "" for a list. */
  readonly name: string;
  readonly body?: object;
}

/** An answer, and what it answers. */
interface Answer {
  readonly value: unknown;
  readonly context: RequestContext;
}

async function request(access: Access, call: Call, signal: AbortSignal): Promise<Answer> {
  const deadline = new Deadline(signal, access.requestLimit ?? standardLimit);
  const context = contextOf(access, call);
  try {
    const { body } = await openResponse(access, call, deadline);
    const text = await readBody(body, apiServerLimits.answerBytes.max);
    return understood(context, () => ({ value: JSON.parse(text) as unknown, context }));
  } catch (error) {
    throw failureOf(context, error, signal, deadline);
  } finally {
    deadline.close();
  }
}

/** What an error says about its call: the request, and where its credentials are from. */
export const contextOf = ({ source }: Access, { method, path }: Pick<Call, "method" | "path">): RequestContext => ({
  request: `${method} ${path}`,
  source,
});

/** Sends a request and waits for its headers; throws the server's error when it refuses. `deadline` ends the reading of the body, too. */
export async function openResponse(access: Access, call: Call, deadline: Deadline): Promise<Response> {
  const { method, path, name, body } = call;
  const connection = access.read();
  const response = await fetch(`${connection.server}${path}`, {
    method,
    headers: headersOf(connection, body),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    tls: tlsOf(connection),
    // A redirect must not carry our token elsewhere.
    redirect: "manual",
    proxy: false,
    // The deadline decides.
    timeout: false,
    signal: deadline.signal,
  });
  if (response.ok) return response;
  const text = await readBeginning(response.body, apiServerLimits.errorBytes.max);
  const retryAfter = response.headers.get("retry-after");
  throw statusError(contextOf(access, call), response.status, { text, retryAfter, name });
}

const headersOf = ({ token }: ApiConnection, body: object | undefined): Record<string, string> => ({
  accept: "application/json",
  // Answers are small, and events must not wait in a compressor.
  "accept-encoding": "identity",
  "user-agent": `sriovdp/${version}`,
  ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  ...(body === undefined ? {} : { "content-type": "application/json" }),
});

const tlsOf = ({ ca, serverName, identity }: ApiConnection) => ({
  // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
  rejectUnauthorized: true,
  ...(ca === null ? {} : { ca }),
  ...(serverName === null ? {} : { serverName }),
  ...(identity === null ? {} : { cert: identity.certificate, key: identity.key }),
});

/** The error that a failed request is reported by. */
export function failureOf(context: RequestContext, error: unknown, signal: AbortSignal, deadline: Deadline): KubeError {
  if (error instanceof KubeError) return error;
  if (signal.aborted) return kubeError("aborted", context, "ended by the caller", { cause: error });
  if (deadline.isOver) return kubeError("unavailable", context, "no answer in time", { cause: error });
  if (error instanceof BodyError) return kubeError("malformed", context, error.message, { cause: error });
  return connectionError(context, error);
}

/** Reads an answer; what can't be read is `malformed`, and a KubeError that reading throws is left as it is. */
export function understood<T>(context: RequestContext, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof KubeError) throw error;
    throw kubeError("malformed", context, `the answer is not understood: ${messageOf(error)}`, { cause: error });
  }
}

const objectOf = <T extends KubeObject>(kind: Kind<T>, name: string, { value, context }: Answer): T =>
  understood(context, () => {
    const object = kind.parse(value);
    if (object.metadata.name !== name) throw new Error(`expected ${name}, found ${object.metadata.name}`);
    return object;
  });
