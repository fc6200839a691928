// Is an object what Kubernetes' schemas say? Strictly: a field that is in no schema is a problem, as for an API server that is requested to
// validate. The schemas are those of the package kubernetes-models, made from Kubernetes' own API description.

import { dirname } from "node:path";
import { parseAllDocuments } from "yaml";

/** An object of the cluster's API, as far as it is the same for all kinds. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
    readonly labels?: Readonly<Record<string, string>>;
  };
}

export interface ConfigMap extends KubernetesObject {
  readonly kind: "ConfigMap";
  readonly data: Readonly<Record<string, string>>;
}

export interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly hostPath?: { readonly path: string; readonly type?: string };
  readonly emptyDir?: { readonly medium?: string };
}

interface Probe {
  readonly exec: { readonly command: readonly string[] };
}

export interface PodContainer {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly securityContext: {
    readonly privileged: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
  readonly startupProbe: Probe;
  readonly livenessProbe: Probe;
  readonly readinessProbe: Probe;
  readonly resources: {
    readonly limits: Readonly<Record<string, string>>;
    readonly requests: Readonly<Record<string, string>>;
  };
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
}

export interface PodSpec {
  readonly serviceAccountName: string;
  readonly containers: readonly PodContainer[];
  readonly volumes: readonly Volume[];
}

export interface DaemonSet extends KubernetesObject {
  readonly kind: "DaemonSet";
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: PodSpec;
    };
  };
}

/** The objects of a YAML text; throws when it is no YAML, or has a key twice. */
export function objectsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text).map((document) => {
    if (document.errors[0]) throw document.errors[0];
    return document.toJS() as KubernetesObject;
  });
}

/** The one object of a kind; throws when there is none or more than one. */
export function only<T extends KubernetesObject>(objects: readonly KubernetesObject[], kind: T["kind"]): T {
  const found = objects.filter((object) => object.kind === kind);
  if (found.length !== 1) throw new Error(`${found.length} objects are a ${kind}`);
  return found[0] as T;
}

interface Validator {
  (value: unknown): boolean;
  errors?:
    | readonly {
        readonly instancePath: string;
        readonly message?: string;
        readonly keyword: string;
        readonly params: object;
      }[]
    | null;
}

/** The files of the schemas by API version and kind. */
const schemas: Readonly<Record<string, string>> = {
  "v1 ConfigMap": "IoK8sApiCoreV1ConfigMap",
  "v1 Pod": "IoK8sApiCoreV1Pod",
  "v1 Service": "IoK8sApiCoreV1Service",
  "v1 ServiceAccount": "IoK8sApiCoreV1ServiceAccount",
  "apps/v1 DaemonSet": "IoK8sApiAppsV1DaemonSet",
  "rbac.authorization.k8s.io/v1 ClusterRole": "IoK8sApiRbacV1ClusterRole",
  "rbac.authorization.k8s.io/v1 ClusterRoleBinding": "IoK8sApiRbacV1ClusterRoleBinding",
  "rbac.authorization.k8s.io/v1 Role": "IoK8sApiRbacV1Role",
  "rbac.authorization.k8s.io/v1 RoleBinding": "IoK8sApiRbacV1RoleBinding",
  "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy":
    "IoK8sApiAdmissionregistrationV1ValidatingAdmissionPolicy",
  "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding":
    "IoK8sApiAdmissionregistrationV1ValidatingAdmissionPolicyBinding",
};

/**
 * The path of a schema's file in the package, which exports only classes. Its versions from 5 on need Node 22 to be installed. Resolved
 * where a schema is needed: the guest's tests use this module without the package.
 */
const schemaPath = (file: string): string =>
  `${dirname(Bun.resolveSync("kubernetes-models/package.json", import.meta.dir))}/_schemas/${file}.mjs`;

/** Whether there is a schema of this kind. */
export const hasSchema = ({ apiVersion, kind }: KubernetesObject): boolean => `${apiVersion} ${kind}` in schemas;

/** What a schema finds wrong with an object, each with its path; fields that the schema does not know among it. Throws without a schema. */
export async function schemaProblems(object: KubernetesObject): Promise<string[]> {
  const file = schemas[`${object.apiVersion} ${object.kind}`];
  if (file === undefined) throw new Error(`no schema of ${object.apiVersion} ${object.kind} is known`);
  const { validate } = (await import(schemaPath(file))) as { validate: Validator };
  // The schemas let unknown fields pass. But a validator reads each field that its schema has: what it did not read is not in there.
  const unread = new Set<string>();
  const watched = watch(object, "", unread);
  validate(watched);
  const wrong = (validate.errors ?? []).map(
    ({ instancePath, message, keyword, params }) =>
      `${instancePath}: ${message ?? `${keyword} ${JSON.stringify(params)}`}`,
  );
  const unknown = [...unread].filter((path) => !unread.has(path.replace(/\/[^/]*$/, "")));
  return [...wrong, ...unknown.map((path) => `${path}: no such field`)];
}

/** The same value; the paths of all fields below it are in `unread` until they are read. */
function watch(value: unknown, path: string, unread: Set<string>): unknown {
  if (typeof value !== "object" || value === null) return value;
  const children = new Map<string | symbol, unknown>();
  for (const [key, child] of Object.entries(value)) {
    const at = `${path}/${key}`;
    unread.add(at);
    children.set(key, watch(child, at, unread));
  }
  return new Proxy(value, {
    get: (target, key) => {
      unread.delete(`${path}/${String(key)}`);
      return children.has(key) ? children.get(key) : (Reflect.get(target, key) as unknown);
    },
  });
}
