// Why did a request to the Kubernetes API fail? One class of error; callers decide by its `kind`.

import { apiServerLimits } from "../limits.ts";
import { oneLine } from "../text.ts";

/**
 * - `aborted`: the caller's signal ended the request.
 * - `alreadyExists`: an object of this name is there; `conflict`: the object changed meanwhile, or has another UID.
 * - `expired`: the resource version is too old to watch from: list again.
 * - `notFound`: this one object does not exist; `notServed`: the API server has no such resource.
 * - `unauthorized`, `forbidden`, `invalid`: retrying alone does not help.
 * - `unavailable`: no answer, an answer cut short, or one with a retry time; a write may have been carried out.
 * - `untrusted`: the server's certificate is not accepted; `unconfigured`: our own access files can't be used.
 * - `malformed`: an answer that is not what the API gives.
 */
export type KubeErrorKind =
  | "aborted"
  | "alreadyExists"
  | "conflict"
  | "expired"
  | "forbidden"
  | "invalid"
  | "malformed"
  | "notFound"
  | "notServed"
  | "unauthorized"
  | "unavailable"
  | "unconfigured"
  | "untrusted";

/** A failed request. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  readonly kind: KubeErrorKind;
  /** The retry time that the server sent, in milliseconds; null when it sent none. */
  readonly retryAfter: number | null;

  constructor(
    kind: KubeErrorKind,
    message: string,
    options: { readonly cause?: unknown; readonly retryAfter?: number | null } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = kind;
    this.retryAfter = options.retryAfter ?? null;
  }
}

/** What is known of a request when it fails. */
export interface RequestContext {
  /** "GET /api/v1/nodes/a" */
  readonly request: string;
  /** Where the credentials are from: "/etc/kubernetes/kubelet.conf". */
  readonly source: string;
}

/** The API's Status object, as far as it counts (apimachinery meta/v1 types.go); every part may be missing. */
interface Status {
  readonly reason: string;
  readonly message: string;
  readonly name: string;
  readonly retryAfterSeconds: number;
}

/** HTTP statuses by what they mean here; of several rows the first one that fits counts. */
const rows: readonly { readonly code: number; readonly reason?: string; readonly kind: KubeErrorKind }[] = [
  { code: 401, kind: "unauthorized" },
  { code: 403, kind: "forbidden" },
  { code: 404, reason: "NotFound", kind: "notFound" },
  // A proxy, or an API server without this group: nothing is known of the object.
  { code: 404, kind: "notServed" },
  { code: 408, kind: "unavailable" },
  { code: 409, reason: "AlreadyExists", kind: "alreadyExists" },
  { code: 409, kind: "conflict" },
  { code: 410, kind: "expired" },
  { code: 429, kind: "unavailable" },
];

const kindOf = (code: number, reason: string): KubeErrorKind =>
  rows.find((row) => row.code === code && (row.reason ?? reason) === reason)?.kind ??
  (code >= 500 ? "unavailable" : code >= 400 ? "invalid" : "malformed");

/** What to do about an error, after its message. */
const advice: Partial<Record<KubeErrorKind, (source: string) => string>> = {
  unauthorized: (source) => `check that the credentials of ${source} are current, and the clock of this node`,
  forbidden: (source) => `grant this right to the identity of ${source} (RBAC); no restart is needed`,
  notServed: () => "the cluster may be older than this API; DRA requires Kubernetes 1.34 or later",
  untrusted: (source) => `check the server and the CA of ${source}, and the clock of this node`,
};

/** An error of this kind: "REQUEST: MESSAGE; ADVICE". */
export function kubeError(
  kind: KubeErrorKind,
  { request, source }: RequestContext,
  message: string,
  options: { readonly cause?: unknown; readonly retryAfter?: number | null } = {},
): KubeError {
  const hint = advice[kind]?.(source);
  return new KubeError(kind, `${request}: ${message}${hint === undefined ? "" : `; ${hint}`}`, options);
}

/**
 * The error of an HTTP status with the Status object, or any other text, that came with it. `name` is the requested
 * object, "" for none: 404 means that it is gone only when the server names that object.
 */
export function statusError(
  context: RequestContext,
  code: number,
  answer: { readonly text: string; readonly retryAfter: string | null; readonly name: string },
): KubeError {
  const status = statusIn(parsed(answer.text));
  const isAboutObject = answer.name !== "" && status.name === answer.name;
  const kind = kindOf(code, code === 404 && !isAboutObject ? "" : status.reason);
  const message = oneLine((status.message || answer.text.trim()).slice(0, apiServerLimits.errorCharacters.max));
  return kubeError(kind, context, [String(code), message].filter((part) => part !== "").join(" "), {
    retryAfter: waitOf(answer.retryAfter, status),
  });
}

/** The error that the API sends inside of a watch, where a Status has its own HTTP code. */
export function watchError(context: RequestContext, object: unknown): KubeError {
  const code = numberIn(object, "code");
  const text = JSON.stringify(object) ?? "";
  return statusError(context, code === 0 ? 500 : code, { text, retryAfter: null, name: "" });
}

function waitOf(header: string | null, { retryAfterSeconds }: Status): number | null {
  const seconds = header !== null && /^\d+$/.test(header) ? Number(header) : retryAfterSeconds;
  return seconds > 0 ? Math.min(seconds * 1000, apiServerLimits.retryAfterMs.max) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

function statusIn(value: unknown): Status {
  const isStatus = textIn(value, "kind") === "Status";
  const details = isStatus ? fieldIn(value, "details") : null;
  return {
    reason: isStatus ? textIn(value, "reason") : "",
    message: isStatus ? textIn(value, "message") : "",
    name: textIn(details, "name"),
    retryAfterSeconds: numberIn(details, "retryAfterSeconds"),
  };
}

const fieldIn = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Readonly<Record<string, unknown>>)[key]
    : null;

const textIn = (value: unknown, key: string): string => {
  const field = fieldIn(value, key);
  return typeof field === "string" ? field : "";
};

const numberIn = (value: unknown, key: string): number => {
  const field = fieldIn(value, key);
  return typeof field === "number" && Number.isFinite(field) ? field : 0;
};

/** The error codes of OpenSSL's and Bun's checks of a certificate. */
const certificateCode = /CERT|ISSUER|LEAF_SIGNATURE|INVALID_CA|ALTNAME|HOSTNAME_MISMATCH/;

/** The error of a request that got no answer, from what fetch, or the reading of a body, threw. */
export function connectionError(context: RequestContext, error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  const { code = "", message = String(error) } = error as { readonly code?: string; readonly message?: string };
  // Bun adds hints for programmers to some messages.
  const [reason = ""] = message.split(". ");
  const isUntrusted = typeof code === "string" && certificateCode.test(code);
  return kubeError(isUntrusted ? "untrusted" : "unavailable", context, oneLine(reason), { cause: error });
}
