// What do sites set in the values of the Helm chart?

/** Values as a user gives them. */
export type Values = Readonly<Record<string, unknown>>;
export const on = { enabled: true };
/** The base's own rule. */
export const pages = { key: "feature.node.kubernetes.io/arm64-64k-pages", operator: "NotIn", values: ["true"] };

export const pools = { resourceList: [{ resourceName: "mine", selectors: [{ drivers: ["iavf"] }] }] };

/** Values as sites have them; each must lint, validate and start the plugin. */
export const sites: Readonly<Record<string, Values>> = {
  "pools inline": { config: pools },
  "pools as text with comments": { config: `{ // pools\n  "resourceList": ${JSON.stringify(pools.resourceList)}\n}\n` },
  "pools for each node": {
    nodeConfig: { ...on, configs: { "worker-1": pools, "worker-2": '{ "resourceList": [] }' } },
  },
  "an image of a registry, by digest": {
    config: pools,
    image: {
      repository: "registry.example.com/net/sriovdp",
      digest: `sha256:${"ab".repeat(32)}`,
      pullPolicy: "Always",
    },
    imagePullSecrets: [{ name: "registry" }],
  },
  "every option": {
    config: pools,
    resourcePrefix: "example.com",
    kubeletRootDir: "/var/snap/microk8s/common/var/lib/kubelet/",
    cdi: { ...on, mode: "annotations" },
    linkHealth: false,
    log: { format: "json", level: "debug" },
    metrics: {
      ...on,
      port: 9909,
      podDevices: true,
      podMonitor: { ...on, interval: "15s", labels: { release: "prometheus" } },
      prometheusRule: { ...on, labels: { release: "prometheus" }, runbookUrl: "https://wiki.example.com/runbooks" },
      dashboard: { ...on, labels: { grafana_dashboard: "1" } },
    },
    netAdmin: on,
    openshift: on,
    nfd: on,
    serviceAccount: { create: true, name: "other", annotations: { a: "b" } },
    nodeSelector: { pool: "sriov" },
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "gpu", operator: "DoesNotExist" }] },
            { matchFields: [{ key: "metadata.name", operator: "In", values: ["a"] }] },
          ],
        },
      },
      podAntiAffinity: {},
    },
    tolerations: [{ key: "sriov", operator: "Exists", effect: "NoSchedule" }],
    priorityClassName: "system-cluster-critical",
    updateStrategy: { type: "OnDelete", rollingUpdate: null },
    resources: { requests: { cpu: "20m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    commonLabels: { team: "net" },
    podLabels: { name: "not-the-selector", app: "other", zone: "a" },
    podAnnotations: { "example.com/note": "true" },
    extraArgs: ["--resync-interval=600"],
    fullnameOverride: "sriovdp-b",
  },
};
