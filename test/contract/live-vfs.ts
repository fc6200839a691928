// Four VFs of one PF in one pool, on a node that runs: what the tests of link health begin with.

import type { RegistrationMode } from "../support/kubelet-view.ts";
import { running } from "./live.ts";

/** The pool's resource. */
export const resource = "intel.com/net";

/** A config with the one pool, and further fields of its entry. */
export const pool = (more: object = {}) => ({ resourceList: [{ resourceName: "net", selectors: {}, ...more }] });

/** The node with its kubelet and its plugin. */
export const vfs = (more: { config?: unknown; args?: readonly string[]; mode?: RegistrationMode } = {}) =>
  running({ node: "iavf-vfs", config: pool(), resources: [resource], ...more });

/** The id of a VF by its index. */
export const vf = (index: number) => `0000:3b:01.${index}`;
