// The manifests by which others run the upstream plugin's image: what a cluster has before it migrates. Facts only: names, labels, arguments, mounts,
// limits.

const labels = { name: "sriov-device-plugin", tier: "node", app: "sriovdp" };

const folders: Readonly<Record<string, string>> = {
  devicesock: "/var/lib/kubelet/device-plugins",
  "plugins-registry": "/var/lib/kubelet/plugins_registry",
  log: "/var/log",
  "config-volume": "/etc/pcidp",
  "device-info": "/var/run/k8s.cni.cncf.io/devinfo/dp",
};

/** What a manifest says differently from release to release. */
interface Variant {
  /** The architecture at the end of its name, and its node selector: one of three DaemonSets up to 3.6.2. */
  readonly architecture?: string;
  readonly image?: string;
}

/** The upstream plugin's DaemonSet (its deployments/sriovdp-daemonset.yaml, v3.6.2 to v3.9.0). */
export const upstreamDaemonSet = ({
  architecture,
  image = "ghcr.io/k8snetworkplumbingwg/sriov-network-device-plugin:v3.9.0",
}: Variant = {}) => ({
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: {
    name: `kube-sriov-device-plugin${architecture === undefined ? "" : `-${architecture}`}`,
    namespace: "kube-system",
    labels: { tier: "node", app: "sriovdp" },
  },
  spec: {
    selector: { matchLabels: { name: labels.name } },
    template: {
      metadata: { labels },
      spec: {
        hostNetwork: true,
        nodeSelector: architecture === undefined ? {} : { "kubernetes.io/arch": architecture },
        tolerations: [{ key: "node-role.kubernetes.io/master", operator: "Exists", effect: "NoSchedule" }],
        serviceAccountName: "sriov-device-plugin",
        containers: [
          {
            name: "kube-sriovdp",
            image,
            imagePullPolicy: "IfNotPresent",
            args: ["--log-dir=sriovdp", "--log-level=10"],
            securityContext: { privileged: true },
            resources: { requests: { cpu: "250m", memory: "40Mi" }, limits: { cpu: "1", memory: "200Mi" } },
            volumeMounts: Object.entries(folders).map(([name, mountPath]) => ({
              name,
              mountPath,
              readOnly: name === "plugins-registry" ? false : undefined,
            })),
          },
        ],
        volumes: Object.entries(folders).map(([name, path]) =>
          name === "config-volume"
            ? { name, configMap: { name: "sriovdp-config", items: [{ key: "config.json", path: "config.json" }] } }
            : { name, hostPath: { path, type: name === "device-info" ? "DirectoryOrCreate" : undefined } },
        ),
      },
    },
  },
});

/** The service account of the upstream plugin's manifest. */
export const upstreamServiceAccount = {
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { name: "sriov-device-plugin", namespace: "kube-system" },
};

/** The DaemonSet that the SR-IOV network operator writes: a config for each node, the root read-only, CDI where it is enabled. */
export const operatorDaemonSet = (namespace: string, image: string) => {
  const mounts: Readonly<Record<string, string>> = {
    devicesock: "/var/lib/kubelet/device-plugins",
    "plugins-registry": "/var/lib/kubelet/plugins_registry",
    "config-volume": "/etc/pcidp/",
    "device-info": "/var/run/k8s.cni.cncf.io/devinfo/dp",
    "dynamic-cdi": "/var/run/cdi",
  };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "sriov-device-plugin", namespace },
    spec: {
      selector: { matchLabels: { app: "sriov-device-plugin" } },
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "33%" } },
      template: {
        metadata: { labels: { app: "sriov-device-plugin", component: "network", type: "infra" } },
        spec: {
          hostNetwork: true,
          nodeSelector: { "kubernetes.io/os": "linux" },
          tolerations: [{ operator: "Exists" }],
          serviceAccountName: "sriov-device-plugin",
          priorityClassName: "system-node-critical",
          containers: [
            {
              name: "sriov-device-plugin",
              image,
              imagePullPolicy: "IfNotPresent",
              args: [
                "--log-level=10",
                "--resource-prefix=intel.com",
                "--config-file=/etc/pcidp/$(NODE_NAME)",
                "--use-cdi",
              ],
              env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
              securityContext: { privileged: true, readOnlyRootFilesystem: true },
              resources: { requests: { cpu: "10m", memory: "50Mi" } },
              volumeMounts: Object.entries(mounts).map(([name, mountPath]) => ({ name, mountPath })),
            },
          ],
          volumes: Object.entries(mounts).map(([name, path]) =>
            name === "config-volume"
              ? { name, configMap: { name: "device-plugin-config" } }
              : { name, hostPath: { path, type: "DirectoryOrCreate" } },
          ),
        },
      },
    },
  };
};
