// Which names in a report are private? Those of pods and of the node: each is replaced, always by the same, so that the files of a
// report still fit together.

/** Replaces names in a text. */
export type Redaction = (text: string) => string;

/** Where a log line names a pod, as text and as JSON. */
const podFields = /(?<=\bpod=)[^\s",]+|(?<="pod": ?")[^"]+/g;

/**
 * Replaces pods, written NAMESPACE/NAME or as a UID, by "namespace-1/pod-1", containers by "container-1", and the node's name by "node". Pods that a log alone
 * names are found by their field.
 */
export function redaction(
  pods: readonly { readonly pod: string; readonly container?: string }[],
  nodeName: string,
): Redaction {
  const known = new Map<string, string>();
  const ranks = new Map<string, number>();
  const rank = (kind: string, name: string): string => {
    const key = `${kind} ${name}`;
    const count = [...ranks.keys()].filter((each) => each.startsWith(`${kind} `)).length;
    if (!ranks.has(key)) ranks.set(key, count + 1);
    return `${kind}-${ranks.get(key)}`;
  };
  const podName = (pod: string): string => {
    const made = known.get(pod);
    if (made !== undefined) return made;
    const [namespace = "", name] = pod.split("/");
    const replaced = name === undefined ? rank("pod", pod) : `${rank("namespace", namespace)}/${rank("pod", pod)}`;
    known.set(pod, replaced);
    return replaced;
  };
  for (const { pod } of pods) if (pod !== "") podName(pod);
  const containers = new Map(
    pods.flatMap(({ container = "" }) =>
      container === "" ? [] : [[container, rank("container", container)] as const],
    ),
  );
  return (text) => {
    let shown = text.replaceAll(podFields, (pod) => podName(pod));
    for (const [pod, replaced] of known) shown = replaceWhole(shown, pod, replaced);
    shown = shown.replaceAll(
      /(?<="container": ?"|\bcontainer=)[^\s"]+/g,
      (name) => containers.get(name) ?? rank("container", name),
    );
    return nodeName.length < 2 ? shown : replaceWhole(shown, nodeName, "node");
  };
}

/** Replaces a name where it is not a part of a longer one. */
function replaceWhole(text: string, name: string, by: string): string {
  const escaped = name.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text.replaceAll(new RegExp(`(?<![\\w.-])${escaped}(?![\\w-])`, "g"), by);
}
