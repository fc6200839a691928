// Every limit of this program in one table; checks, messages and documentation follow it.

interface Limit {
  readonly max: number;
  /** What is counted, for the documentation. */
  readonly unit: string;
  /** What happens beyond it; unrelated pools go on in any case. */
  readonly onExceed: string;
}

const refused = "the file is rejected; a running plugin keeps its config";

export const limits = {
  configBytes: { max: 1 << 20, unit: "bytes of the config file (as of a ConfigMap)", onExceed: refused },
  configDepth: { max: 32, unit: "levels of lists and objects in the config file", onExceed: refused },
  configTokens: { max: 400_000, unit: "tokens of the config file", onExceed: refused },
  problems: { max: 100, unit: "problems of a config file that are listed", onExceed: "the others are only counted" },
  pools: {
    max: 512,
    unit: "entries of `resourceList`",
    onExceed: "further entries are skipped, each with an error",
  },
  prefixLength: { max: 253 - "requests.".length, unit: "characters of a prefix (Kubernetes)", onExceed: refused },
  nameLength: { max: 63, unit: "characters of a resource's name (Kubernetes)", onExceed: refused },
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
