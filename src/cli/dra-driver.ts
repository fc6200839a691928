// What is the DRA driver's identity in the cluster? It comes from the options and the environment of the plugin's pod.

import { hostname } from "node:os";
import { fromKubeconfig, inCluster } from "../kube/access.ts";
import type { DraDriver } from "../roles/dra/dra-role.ts";
import type { Options } from "./options.ts";

type DraOptions = Pick<Options, "dra-driver-name" | "dra-attributes" | "node-name" | "pod-uid" | "kubeconfig">;

/** The driver that the options describe. Without a name the Node has that of the host in lower case, as the kubelet names it. */
export const draDriverOf = (options: DraOptions): DraDriver => ({
  driver: options["dra-driver-name"],
  node: options["node-name"] ?? hostname().trim().toLowerCase(),
  instance: options["pod-uid"],
  attributes: options["dra-attributes"],
  access: options.kubeconfig === null ? inCluster(process.env) : fromKubeconfig(options.kubeconfig),
});
