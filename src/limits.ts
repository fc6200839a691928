// Every limit of this program in one table; checks, messages and documentation follow it.

interface Limit {
  readonly max: number;
  /** What is counted, for the documentation. */
  readonly unit: string;
  /** What happens beyond it; unrelated pools go on in any case. */
  readonly onExceed: string;
}

const rejected = "the file is rejected; a running plugin keeps its config";

export const limits = {
  configBytes: { max: 1 << 20, unit: "bytes of the config file (as of a ConfigMap)", onExceed: rejected },
  configDepth: { max: 32, unit: "levels of lists and objects in the config file", onExceed: rejected },
  configTokens: { max: 400_000, unit: "tokens of the config file", onExceed: rejected },
  problems: { max: 100, unit: "problems of a config file that are listed", onExceed: "the others are only counted" },
  pools: {
    max: 512,
    unit: "entries of `resourceList`",
    onExceed: "further entries are skipped, each with an error",
  },
  prefixLength: { max: 253 - "requests.".length, unit: "characters of a prefix (Kubernetes)", onExceed: rejected },
  nameLength: { max: 63, unit: "characters of a resource's name (Kubernetes)", onExceed: rejected },
  socketPath: {
    max: 107,
    unit: "bytes of a socket's path (Linux): the kubelet's folder, `/PREFIX_NAME.sock`",
    onExceed: "the entry is skipped with an error; a running plugin that serves the entry rejects the file",
  },
  listBytes: {
    max: 100_000,
    unit: "bytes of a pool's list, about 3,000 devices: a longer one can stall the kubelet's stream",
    onExceed:
      "further devices are not offered, and an error is logged; allocated devices and those already offered come first",
  },
  listStreams: {
    max: 256,
    unit: "open ListAndWatch streams of a pool, not counting the kubelet's",
    onExceed: "RESOURCE_EXHAUSTED",
  },
  healthStreams: {
    max: 16,
    unit: "open health streams of the DRA driver",
    onExceed: "the oldest one is ended; a kubelet opens it again after 5 s",
  },
  connections: {
    max: 512,
    unit: "open connections to a pool's socket",
    onExceed: "the oldest one without a ListAndWatch stream is closed; where all have one, the new one",
  },
  callsAtOnce: {
    max: 256,
    unit: "concurrent calls on one connection",
    onExceed: "HTTP/2 makes the caller wait, or refuses the call",
  },
  requestBytes: { max: 4 << 20, unit: "bytes of a request", onExceed: "RESOURCE_EXHAUSTED" },
  checkpointBytes: {
    max: 64 << 20,
    unit: "bytes of the kubelet's checkpoint or pod-resources answer",
    onExceed: "it counts as unreadable: devices stay in their pools",
  },
} as const satisfies Record<string, Limit>;

/** Those of requests to the API server, as `run --allocator=dra` sends them. */
export const apiServerLimits = {
  credentialBytes: {
    max: 1 << 20,
    unit: "bytes of a token, certificate, key or kubeconfig: a CA bundle may hold many certificates",
    onExceed: "requests fail with that reason until the file is shorter",
  },
  answerBytes: {
    max: 64 << 20,
    unit: "bytes of the API server's answer, enough for some thousand ResourceSlices",
    onExceed: "the connection is closed, and the request retried",
  },
  eventBytes: {
    max: 8 << 20,
    unit: "bytes of an event of a watch: an object of etcd has at most 1.5 MiB, in JSON some more",
    onExceed: "the objects are listed again",
  },
  errorBytes: { max: 64 << 10, unit: "bytes of an error of the API server", onExceed: "the rest is not read" },
  errorCharacters: {
    max: 300,
    unit: "characters of an error of the API server that messages quote",
    onExceed: "the rest is left out",
  },
  retryAfterMs: {
    max: 60_000,
    unit: "milliseconds that the API server can delay a retry (Retry-After)",
    onExceed: "the request is retried after this time",
  },
} as const satisfies Record<string, Limit>;
