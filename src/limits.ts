// What is too much? Every limit of this program in one table; checks, messages and documentation follow it.

interface Limit {
  readonly most: number;
  /** What is counted, for the documentation. */
  readonly of: string;
  /** What happens beyond it; pools that have nothing to do with it go on in any case. */
  readonly beyond: string;
}

const refused = "the file is refused; a running plugin goes on with the config that it has";

export const limits = {
  configBytes: { most: 1 << 20, of: "bytes of the config file, as of a ConfigMap", beyond: refused },
  configDepth: { most: 32, of: "levels of lists and objects in the config file", beyond: refused },
  configTokens: { most: 400_000, of: "words and signs of the config file", beyond: refused },
  problems: { most: 100, of: "problems of a config file that are listed", beyond: "the rest is counted" },
  pools: { most: 512, of: "entries of `resourceList`", beyond: "the entries beyond are skipped, each with an error" },
  prefixLength: { most: 253 - "requests.".length, of: "characters of a prefix (Kubernetes)", beyond: refused },
  nameLength: { most: 63, of: "characters of a resource's name (Kubernetes)", beyond: refused },
  socketPath: {
    most: 107,
    of: "bytes of a socket's path (Linux): the kubelet's folder, `/PREFIX_NAME.sock`",
    beyond: "the entry is skipped with an error; a running plugin that serves it refuses the file",
  },
  listBytes: {
    most: 100_000,
    of: "bytes of a pool's list, about 3,000 devices: a longer one can stall the kubelet's stream",
    beyond:
      "the devices beyond are not offered, with an error; those that pods hold or that are offered already come first",
  },
  listStreams: {
    most: 256,
    of: "open ListAndWatch streams of a pool, not counting the kubelet's",
    beyond: "RESOURCE_EXHAUSTED",
  },
  connections: {
    most: 512,
    of: "open connections to a pool's socket",
    beyond: "the oldest one without a ListAndWatch stream is closed; where all have one, the new one",
  },
  callsAtOnce: {
    most: 256,
    of: "calls at once on one connection",
    beyond: "the caller waits, or is refused by HTTP/2",
  },
  requestBytes: { most: 4 << 20, of: "bytes of a request", beyond: "RESOURCE_EXHAUSTED" },
  checkpointBytes: {
    most: 64 << 20,
    of: "bytes of the kubelet's checkpoint or pod-resources answer",
    beyond: "it counts as unreadable: devices stay where they are",
  },
} as const satisfies Record<string, Limit>;
