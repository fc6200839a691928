// A control plane on this machine, from the lab's one executable: etcd, API server, controller manager, scheduler.

import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Namespace } from "./namespace.ts";
import { kubectlIn } from "./kubectl.ts";

/** The address of the service "kubernetes". It is on the namespace's lo, so the guest's router leads there, and no kube-proxy is needed. */
export const serviceAddress = "10.96.0.1";

/** A user of the API server: one of the programs, or the kubelet of a node. */
type User = "admin" | "manager" | "scheduler" | `kubelet-${string}`;

/** Who may do what, by a token: the API server's static token file. */
const usersOf = (nodes: readonly string[]): (readonly [User, { readonly name: string; readonly group: string }])[] => [
  ["admin", { name: "admin", group: "system:masters" }],
  ["manager", { name: "system:kube-controller-manager", group: "" }],
  ["scheduler", { name: "system:kube-scheduler", group: "" }],
  ...nodes.map((node) => [`kubelet-${node}` as const, { name: `system:node:${node}`, group: "system:nodes" }] as const),
];

interface ControlPlaneOptions {
  /** Names of the nodes whose kubelets are users. */
  readonly nodes?: readonly string[];
  readonly featureGates?: Readonly<Record<string, boolean>>;
}

export interface ControlPlane {
  /** The path of a kubeconfig, which holds within the namespace as well as in the guest. */
  kubeconfig(user: User): string;
  /** Settles when pods can be created; rejects when a program of it ends, or after two minutes. */
  readonly ready: Promise<void>;
}

/**
 * Starts the control plane and waits until its kubeconfigs are there, also those for the kubelets of the nodes; its state is below
 * `folder`. All its programs have the feature gates.
 */
export async function startControlPlane(
  namespace: Namespace,
  kubernetes: string,
  folder: string,
  { nodes = ["lab"], featureGates = {} }: ControlPlaneOptions = {},
): Promise<ControlPlane> {
  mkdirSync(folder, { recursive: true });
  const file = (name: string) => join(folder, name);
  const kubeconfig = (user: User) => file(`kubeconfig-${user}`);
  const certificate = file("certificates/apiserver.crt");
  const users = usersOf(nodes).map(([user, identity]) => ({ user, ...identity, token: crypto.randomUUID() }));
  const { privateKey, publicKey } = generateKeyPairSync("rsa", {
    modulusLength: 2048,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  writeFileSync(file("accounts.key"), privateKey, { mode: 0o600 });
  writeFileSync(file("accounts.pub"), publicKey);
  const rows = users.map(({ token, name, group }) => `${token},${name},${name},"${group}"`);
  writeFileSync(file("tokens.csv"), `${rows.join("\n")}\n`, { mode: 0o600 });

  const start = (name: string, ...args: readonly string[]) => namespace.start(name, [kubernetes, name, ...args]);
  const gates = Object.entries(featureGates).map(([gate, isOn]) => `--feature-gates=${gate}=${isOn}`);
  start(
    "etcd",
    `--data-dir=${file("etcd")}`,
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--unsafe-no-fsync",
    "--log-level=warn",
  );
  const server = start(
    "kube-apiserver",
    "--etcd-servers=http://127.0.0.1:2379",
    "--bind-address=0.0.0.0",
    `--advertise-address=${serviceAddress}`,
    "--secure-port=443",
    // It makes a certificate of its own there, with its service's address.
    `--cert-dir=${file("certificates")}`,
    `--token-auth-file=${file("tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${file("accounts.pub")}`,
    `--service-account-signing-key-file=${file("accounts.key")}`,
    "--service-cluster-ip-range=10.96.0.0/16",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged",
    // Nothing here resolves the node's name, or needs the endpoints of the service "kubernetes".
    "--kubelet-preferred-address-types=InternalIP",
    "--endpoint-reconciler-type=none",
    ...gates,
  );

  const kubectl = kubectlIn(namespace.pid, kubernetes, kubeconfig("admin"));
  const waitFor = async (what: string, condition: () => Promise<boolean>) => {
    for (const end = performance.now() + 120_000; performance.now() < end; await Bun.sleep(200)) {
      if (!server.running()) throw new Error("the API server has ended; see kube-apiserver.log");
      if (await condition()) return;
    }
    throw new Error(`not within 120 s: ${what}`);
  };
  await waitFor("the API server's certificate", async () => existsSync(certificate));
  for (const { user, token } of users)
    writeFileSync(kubeconfig(user), kubeconfigOf(token, readFileSync(certificate)), { mode: 0o600 });
  const ready = async () => {
    await waitFor("the API server is ready", async () => (await kubectl("get", "--raw=/readyz")).status === 0);

    const client = (user: User) => [
      ...["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"].map(
        (option) => `--${option}=${kubeconfig(user)}`,
      ),
      "--bind-address=127.0.0.1",
      "--leader-elect=false",
      ...gates,
    ];
    start(
      "kube-controller-manager",
      ...client("manager"),
      "--use-service-account-credentials",
      `--service-account-private-key-file=${file("accounts.key")}`,
      `--root-ca-file=${certificate}`,
    );
    start("kube-scheduler", ...client("scheduler"));
    await waitFor(
      "service accounts",
      async () => (await kubectl("--namespace=default", "get", "serviceaccount", "default")).status === 0,
    );
  };
  return { kubeconfig, ready: ready() };
}

/** A kubeconfig for this token; the server's certificate is the only authority. */
const kubeconfigOf = (token: string, certificate: Uint8Array): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "lab",
        cluster: {
          server: `https://${serviceAddress}:443`,
          "certificate-authority-data": Buffer.from(certificate).toString("base64"),
        },
      },
    ],
    users: [{ name: "lab", user: { token } }],
    contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
    "current-context": "lab",
  });
