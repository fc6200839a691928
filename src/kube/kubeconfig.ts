// What is in a kubeconfig? The cluster and the user of its current context, by the rules of client-go (tools/clientcmd). Text in,
// sources out: files are read elsewhere.

import * as v from "valibot";
import { parse, YAMLParseError } from "yaml";
import { messageOf, oneLine } from "../text.ts";

/** Where something is: in a file, or here. */
export interface Source {
  readonly from: "file" | "text";
  readonly value: string;
}

/** The part of a kubeconfig that counts. */
export interface Kubeconfig {
  readonly server: string;
  readonly serverName: string | null;
  readonly ca: Source | null;
  readonly token: Source | null;
  /** The client certificate and its key: both or none. */
  readonly certificate: Source | null;
  readonly key: Source | null;
}

const text = v.optional(v.nullable(v.string()));
const flag = v.optional(v.nullable(v.boolean()));
const named = <T extends v.GenericSchema>(key: string, value: T) =>
  v.optional(v.nullable(v.array(v.looseObject({ name: v.string(), [key]: value }))));

const clusterSchema = v.looseObject({
  server: v.string(),
  "certificate-authority": text,
  "certificate-authority-data": text,
  "insecure-skip-tls-verify": flag,
  "tls-server-name": text,
  "proxy-url": text,
});

const userSchema = v.looseObject({
  "client-certificate": text,
  "client-certificate-data": text,
  "client-key": text,
  "client-key-data": text,
  token: text,
  tokenFile: text,
});

const fileSchema = v.looseObject({
  "current-context": text,
  clusters: named("cluster", v.unknown()),
  users: named("user", v.unknown()),
  contexts: named("context", v.unknown()),
});

const contextSchema = v.looseObject({ cluster: v.string(), user: v.string() });

/** Reads a kubeconfig; `config` is null when it can't be used, and `problem` is the reason. */
export function readKubeconfig(
  content: string,
): { readonly config: Kubeconfig; readonly problem: null } | { readonly config: null; readonly problem: string } {
  try {
    return { config: readCurrent(content), problem: null };
  } catch (error) {
    return { config: null, problem: problemOf(error) };
  }
}

/** What is wrong; never what is written there, which may be a secret: the parser's messages quote it. */
function problemOf(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return oneLine(messageOf(error));
  const [{ line, col } = { line: 1, col: 1 }] = error.linePos ?? [];
  return `not YAML: ${error.code.toLowerCase().replaceAll("_", " ")} at line ${line}, column ${col}`;
}

function readCurrent(content: string): Kubeconfig {
  const file = valid(fileSchema, parse(content, { logLevel: "error" }), "the file");
  const current = file["current-context"] ?? "";
  if (current === "") throw new Error("current-context is not set");
  const context = valid(contextSchema, find(file.contexts, "context", current), `context "${current}"`);
  const cluster = valid(clusterSchema, find(file.clusters, "cluster", context.cluster), `cluster "${context.cluster}"`);
  // A user without any field has no credentials, which is reported below.
  const user = valid(userSchema, find(file.users, "user", context.user) ?? {}, `user "${context.user}"`);
  if (cluster["insecure-skip-tls-verify"] === true)
    throw new Error("insecure-skip-tls-verify is not supported; set certificate-authority instead");
  if ((cluster["proxy-url"] ?? "") !== "")
    throw new Error("proxy-url is not supported; the API server is reached directly");
  const certificate = source(user["client-certificate-data"], user["client-certificate"]);
  const key = source(user["client-key-data"], user["client-key"]);
  if ((certificate === null) !== (key === null)) {
    const [has, lacks] = certificate === null ? ["key", "certificate"] : ["certificate", "key"];
    throw new Error(`user "${context.user}" has a client ${has} and no client ${lacks}`);
  }
  const token = tokenSource(user.token ?? "", user.tokenFile ?? "");
  if (certificate === null && token === null) throw new Error(withoutCredentials(context.user, user));
  return {
    server: cluster.server,
    serverName: cluster["tls-server-name"] || null,
    ca: source(cluster["certificate-authority-data"], cluster["certificate-authority"]),
    token,
    certificate,
    key,
  };
}

/** Ways to log in that client-go has and that need a program or a library of their own. */
const unsupported = ["exec", "auth-provider", "username"] as const;

function withoutCredentials(name: string, user: Readonly<Record<string, unknown>>): string {
  const found = unsupported.filter((key) => key in user);
  const has = found.length === 0 ? "has no credentials" : `logs in by ${found.join(" and ")}, which is not supported`;
  return `user "${name}" ${has}; use a kubeconfig with a client certificate, token or tokenFile`;
}

/** As client-go: what is in the file itself comes before the file that it names. */
function source(data: string | null | undefined, path: string | null | undefined): Source | null {
  if (data) return { from: "text", value: Buffer.from(data, "base64").toString("utf8") };
  return path ? { from: "file", value: path } : null;
}

/** As client-go: a token's file, which is kept up to date, comes before a token. */
const tokenSource = (token: string, file: string): Source | null =>
  file !== "" ? { from: "file", value: file } : token !== "" ? { from: "text", value: token } : null;

/** The value below `key` of the first entry with this name; undefined when there is none. */
const find = (
  list: readonly Readonly<Record<string, unknown>>[] | null | undefined,
  key: string,
  name: string,
): unknown => list?.find((entry) => entry["name"] === name)?.[key];

function valid<T extends v.GenericSchema>(schema: T, value: unknown, what: string): v.InferOutput<T> {
  if (value === undefined || value === null) throw new Error(`${what} is missing`);
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  const found = issue.received === "undefined" ? "missing" : `not as expected (${issue.expected ?? "of another type"})`;
  // Never the value: it may be a secret.
  throw new Error(`${what}: ${path === null ? "it" : path} is ${found}`);
}
