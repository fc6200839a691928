// Would a pod get the devices that it is given? After a reboot the kubelet starts a pod with the answer to Allocate that it cached
// before (pkg/kubelet/cm/devicemanager/manager.go, devicesToAllocate): its node numbers may belong to another device now.

import { commonNodes } from "../host/node-paths.ts";

/** An answer that the kubelet has in its checkpoint for one container and one resource. */
export interface CachedAnswer {
  readonly resource: string;
  readonly ids: readonly string[];
  /** The pod's UID. */
  readonly pod: string;
  /** The device nodes on the host that the answer names. */
  readonly nodes: readonly string[];
  /** Whether it names CDI devices: what these are is decided when the container starts. */
  readonly namesCdiDevices: boolean;
}

/** Why a device must not be handed out by a cached answer. */
export interface StaleAnswer {
  readonly resource: string;
  readonly pod: string;
  /** The end of a sentence. */
  readonly reason: string;
}

const common: ReadonlySet<string> = new Set(Object.values(commonNodes));

const own = (nodes: readonly string[]) => nodes.filter((path) => !common.has(path));

/**
 * The devices whose cached answer names other nodes than Allocate would give now, by id. `nodesOf` returns the nodes of a device as
 * this resource hands it out, and null for a device that is not this resource's, which is skipped.
 */
export function staleAnswers(
  answers: readonly CachedAnswer[],
  nodesOf: (resource: string, id: string) => readonly string[] | null,
): Map<string, StaleAnswer> {
  const stale = new Map<string, StaleAnswer>();
  for (const { resource, ids, pod, nodes, namesCdiDevices } of answers) {
    const cached = new Set(own(nodes));
    if (namesCdiDevices && cached.size === 0) continue;
    const now = ids.map((id) => ({ id, nodes: nodesOf(resource, id) }));
    const known = new Set(now.flatMap((each) => own(each.nodes ?? [])));
    // A node that no device has now may have been any device's, so it counts against all, once the nodes of all are known.
    const hasForeign = now.every((each) => each.nodes !== null) && [...cached].some((path) => !known.has(path));
    for (const each of now) {
      if (each.nodes === null) continue;
      const given = own(each.nodes);
      if (!hasForeign && given.every((path) => cached.has(path))) continue;
      const reason = `pod ${pod} would be restarted with ${listOf([...cached])}, and it is ${listOf(given)} now`;
      stale.set(each.id, { resource, pod, reason });
    }
  }
  return stale;
}

const listOf = (paths: readonly string[]): string => (paths.length === 0 ? "no device node" : paths.join(", "));
