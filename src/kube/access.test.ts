import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { stringify } from "yaml";
import { anAuthority, anIdentity } from "../../test/support/certificates.ts";
import { type Access, fromKubeconfig, inCluster } from "./access.ts";
import { KubeError } from "./errors.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(`${tmpdir()}/sriovdp-access-`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const authority = anAuthority();
const kubelet = anIdentity(authority, "system:node:a");
const write = (name: string, content: string) => writeFileSync(`${folder}/${name}`, content);

/** What is wrong, as it would be logged. */
function problemOf(access: Access): string {
  try {
    access.read();
  } catch (error) {
    if (error instanceof KubeError && error.kind === "unconfigured") return error.message;
    throw error;
  }
  return "";
}

describe("in a pod", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const access = (variables: Readonly<Record<string, string | undefined>> = env) => inCluster(variables, folder);
  beforeEach(() => {
    write("ca.crt", authority.certificate);
    write("token", "secret-1\n");
  });

  test("the service account's token and CA are used, and the address that the kubelet gives to every container", () => {
    expect(access().read()).toEqual({
      server: "https://10.96.0.1",
      ca: authority.certificate,
      serverName: null,
      token: "secret-1",
      identity: null,
    });
  });

  test("an IPv6 address is written as URLs have it", () => {
    const { server } = access({ KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" }).read();
    expect(server).toBe("https://[fd00::1]:6443");
  });

  test("a token and a CA that are replaced are used from then on", () => {
    const same = access();
    same.read();
    const { certificate } = anAuthority("another CA");
    write("token", "secret-2");
    write("ca.crt", certificate);
    expect(same.read()).toMatchObject({ token: "secret-2", ca: certificate });
  });

  test("outside of a pod fails with a message that says so", () => {
    expect(problemOf(access({}))).toContain("this is not a pod");
    expect(problemOf(access({ ...env, KUBERNETES_SERVICE_PORT: undefined }))).toContain("this is not a pod");
  });

  test.each([
    ["an empty token", "token", " \n", "token is empty"],
    ["a token of two lines", "token", "secret\r\nX-Other: 1", "is not a token"],
    ["no certificate", "ca.crt", "secret", "ca.crt has no certificate"],
  ])("%s is refused, and never shown", (_, file, content, message) => {
    write(file, content);
    expect(problemOf(access())).toContain(message);
    expect(problemOf(access())).not.toContain("secret");
  });

  test("a missing file is named", () => {
    rmSync(`${folder}/token`);
    expect(problemOf(access())).toContain(`cannot read ${folder}/token: ENOENT`);
  });
});

describe("a kubeconfig", () => {
  const cluster = { server: "https://10.0.0.1:6443/", "certificate-authority": "pki/ca.crt" };
  const user: Readonly<Record<string, unknown>> = {
    "client-certificate": "pki/current.pem",
    "client-key": "pki/current.pem",
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");

  function kubeconfig(own: { cluster?: object; user?: object; file?: object } = {}): Access {
    const file = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        { name: "other", cluster: { server: "https://other" } },
        { name: "c", cluster: own.cluster ?? cluster },
      ],
      users: [{ name: "u", user: own.user ?? user }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
      ...own.file,
    };
    write("kubelet.conf", stringify(file));
    return fromKubeconfig(`${folder}/kubelet.conf`);
  }

  beforeEach(() => {
    mkdirSync(`${folder}/pki`, { recursive: true });
    write("pki/ca.crt", authority.certificate);
    write("pki/current.pem", `${kubelet.certificate}${kubelet.key}`);
  });

  test("of a kubelet gives its certificate and key, by paths from the file's folder", () => {
    const both = `${kubelet.certificate}${kubelet.key}`;
    expect(kubeconfig().read()).toEqual({
      server: "https://10.0.0.1:6443",
      ca: authority.certificate,
      serverName: null,
      token: null,
      identity: { certificate: both, key: both },
    });
  });

  test("is read again for each request, with all files that it names", () => {
    const access = kubeconfig();
    access.read();
    const next = anIdentity(authority, "system:node:a");
    write("pki/current.pem", `${next.certificate}${next.key}`);
    expect(access.read().identity?.key).toBe(`${next.certificate}${next.key}`);
    kubeconfig({ cluster: { ...cluster, server: "https://10.0.0.2:6443" } });
    expect(access.read().server).toBe("https://10.0.0.2:6443");
  });

  test("may hold certificates and keys itself, which come before files", () => {
    const access = kubeconfig({
      cluster: {
        ...cluster,
        "certificate-authority-data": base64(authority.certificate),
        "certificate-authority": "gone",
      },
      user: { ...user, "client-certificate-data": base64(kubelet.certificate), "client-key-data": base64(kubelet.key) },
    });
    expect(access.read()).toMatchObject({
      ca: authority.certificate,
      identity: { certificate: kubelet.certificate, key: kubelet.key },
    });
  });

  test("may have a token, and a file that is kept up to date comes before it", () => {
    expect(kubeconfig({ user: { token: "a" } }).read()).toMatchObject({ token: "a", identity: null });
    write("pki/token", "b\n");
    expect(kubeconfig({ user: { token: "a", tokenFile: "pki/token" } }).read().token).toBe("b");
  });

  test("may name the server otherwise than its URL, and have the API below a path", () => {
    const access = kubeconfig({
      cluster: { server: "https://rancher/k8s/clusters/c-1/", "tls-server-name": "kubernetes" },
    });
    expect(access.read()).toMatchObject({
      server: "https://rancher/k8s/clusters/c-1",
      serverName: "kubernetes",
      ca: null,
    });
  });

  test("of a managed cluster with a certificate beside a login program uses the certificate", () => {
    expect(kubeconfig({ user: { ...user, exec: { command: "aws" } } }).read().identity).not.toBeNull();
  });

  test.each<[string, Parameters<typeof kubeconfig>[0], string]>([
    ["no current context", { file: { "current-context": "" } }, "current-context is not set"],
    ["an unknown context", { file: { "current-context": "y" } }, 'context "y" is missing'],
    ["an unknown cluster", { file: { clusters: null } }, 'cluster "c" is missing'],
    ["an unknown user", { file: { users: [] } }, 'user "u" has no credentials'],
    ["a list in place of an object", { cluster: ["secret"] }, 'cluster "c": server is missing'],
    ["a number in place of a token", { user: { token: 5 } }, 'user "u": token is not as expected (string)'],
    ["a login program", { user: { exec: { command: "aws" } } }, "logs in by exec, which is not supported; use"],
    ["a password", { user: { username: "a", password: "secret" } }, "logs in by username, which is not supported"],
    ["a key without certificate", { user: { "client-key": "pki/current.pem" } }, "has a client key and no client cert"],
    ["an unchecked server", { cluster: { ...cluster, "insecure-skip-tls-verify": true } }, "set certificate-authority"],
    ["a proxy", { cluster: { ...cluster, "proxy-url": "http://p" } }, "proxy-url is not supported"],
    ["a server without TLS", { cluster: { server: "http://a:secret@10.0.0.1" } }, "must be an https:// URL"],
    ["a server that is no URL", { cluster: { server: "10.0.0.1:6443" } }, "must be an https:// URL"],
    ["an invalid CA", { cluster: { ...cluster, "certificate-authority-data": base64("x") } }, "no certificate in PEM"],
    ["an invalid key", { user: { ...user, "client-key-data": base64("secret") } }, "has no private key in PEM"],
    ["a certificate file that is missing", { user: { ...user, "client-certificate": "gone" } }, "/gone: ENOENT"],
  ])("with %s is refused with what to do, and secrets are never shown", (_, own, message) => {
    const problem = problemOf(kubeconfig(own));
    expect(problem).toContain(message);
    expect(problem).not.toContain("secret");
  });

  test.each([
    ["nothing", "", "the file is missing"],
    ["a word", "secret", "the file: it is not as expected"],
    ["broken YAML", 'users: [{token: "secret"\nb: : c', "not YAML: "],
    ["a token on a wrong line", "users:\n  - a\n secret-token: b\n", "not YAML: "],
    [
      "a bomb of aliases",
      `a: &a [x,x]\n${["b", "c", "d", "e", "f", "g", "h"].map((k, i) => `${k}: &${k} [${`*${"abcdefg"[i]},`.repeat(9)}]`).join("\n")}`,
      "alias",
    ],
  ])("that is %s is refused", (_, content, message) => {
    write("broken.conf", content);
    const problem = problemOf(fromKubeconfig(`${folder}/broken.conf`));
    expect(problem).toContain(message);
    expect(problem).not.toContain("secret");
    expect(problem).not.toContain("\n");
  });

  test("that is larger than any, or no file, is refused", () => {
    write("large.conf", "#".repeat((1 << 20) + 1));
    expect(problemOf(fromKubeconfig(`${folder}/large.conf`))).toContain("too large");
    expect(problemOf(fromKubeconfig(folder))).toContain("EISDIR");
  });
});
