// Where is the API server, and who are we to it? From a pod's service account, or from the kubelet's kubeconfig on a host. All
// files are read again for every request: tokens, client certificates and CAs are replaced while the plugin runs.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { dirname, resolve } from "node:path";
import { readText } from "../fs/read-text.ts";
import { apiServerLimits } from "../limits.ts";
import { messageOf } from "../text.ts";
import { KubeError } from "./errors.ts";
import { readKubeconfig, type Source } from "./kubeconfig.ts";

/** What one request goes by. */
export interface ApiConnection {
  /** "https://10.96.0.1:443", with a path where the API is below one, without a slash at its end. */
  readonly server: string;
  /** Certificates in PEM; null: those that the system trusts. */
  readonly ca: string | null;
  /** The name in the server's certificate; null: that of the URL. */
  readonly serverName: string | null;
  readonly token: string | null;
  /** The client certificate and its key in PEM. */
  readonly identity: { readonly certificate: string; readonly key: string } | null;
}

/** A way to the API server. */
export interface Access {
  /** The folder or file that it is described by, for messages. */
  readonly source: string;
  /** Reads it; throws KubeError `unconfigured` when something is missing or can't be used. */
  readonly read: () => ApiConnection;
  /** How long a request may take, and a watch until it begins, in milliseconds; 10 seconds when it is missing. */
  readonly requestLimit?: number;
}

/** Where the kubelet puts a pod's service account (kubernetes.io/docs, projected volume of every pod). */
export const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

const unconfigured = (message: string, cause?: unknown): KubeError => new KubeError("unconfigured", message, { cause });

function read(path: string): string {
  try {
    return readText(path, apiServerLimits.credentialBytes.max);
  } catch (error) {
    throw unconfigured(`cannot read ${path}: ${messageOf(error)}`, error);
  }
}

/** The way of a pod: the address that the kubelet gives to every container, and the pod's service account. */
export function inCluster(env: Readonly<Record<string, string | undefined>>, folder = serviceAccountFolder): Access {
  return {
    source: folder,
    read: () => {
      const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
      const port = env["KUBERNETES_SERVICE_PORT"] ?? "";
      if (host === "" || port === "")
        throw unconfigured(
          "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is not a pod; on a host, set --kubeconfig",
        );
      return {
        server: serverUrl(`https://${host.includes(":") ? `[${host}]` : host}:${port}`, "KUBERNETES_SERVICE_HOST"),
        ca: certificatesOf(read(`${folder}/ca.crt`), `${folder}/ca.crt`),
        serverName: null,
        token: tokenOf(read(`${folder}/token`), `${folder}/token`),
        identity: null,
      };
    },
  };
}

/** The way of a kubeconfig file; relative paths in it start at its folder (client-go tools/clientcmd). */
export function fromKubeconfig(path: string): Access {
  const get = ({ from, value }: Source) =>
    from === "file"
      ? { text: read(resolve(dirname(path), value)), at: resolve(dirname(path), value) }
      : { text: value, at: path };
  return {
    source: path,
    read: () => {
      const { config, problem } = readKubeconfig(read(path));
      if (config === null) throw unconfigured(`${path}: ${problem}`);
      const { certificate, key } = config;
      const pem = (source: Source, check: (text: string, at: string) => string) => {
        const { text, at } = get(source);
        return check(text, at);
      };
      return {
        server: serverUrl(config.server, path),
        ca: config.ca && pem(config.ca, certificatesOf),
        serverName: config.serverName,
        token: config.token && pem(config.token, tokenOf),
        identity: certificate && key && { certificate: pem(certificate, certificatesOf), key: pem(key, keyOf) },
      };
    },
  };
}

function serverUrl(text: string, at: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  // Without TLS the token could be read on its way.
  if (url?.protocol !== "https:") throw unconfigured(`${at}: the server must be an https:// URL`);
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function certificatesOf(text: string, at: string): string {
  try {
    void new X509Certificate(text);
    return text;
  } catch (cause) {
    throw unconfigured(`${at} has no certificate in PEM`, cause);
  }
}

function keyOf(text: string, at: string): string {
  try {
    createPrivateKey(text);
    return text;
  } catch (cause) {
    throw unconfigured(`${at} has no private key in PEM that can be read without a passphrase`, cause);
  }
}

function tokenOf(text: string, at: string): string {
  const token = text.trim();
  if (token === "") throw unconfigured(`${at} is empty`);
  // It becomes a header: a line break would begin another one. Never shown, since it is a secret.
  if (!/^[\x21-\x7e]+$/.test(token)) throw unconfigured(`${at} is not a token: it has blanks or other characters`);
  return token;
}
