// Objects for requests to an API server: slices, with the fields that a client needs.

import type { Access } from "../../src/kube/access.ts";
import type { Kind, KubeObject } from "../../src/kube/api-client.ts";
import type { ApiServer } from "./api-server.ts";

export interface TestSlice extends KubeObject {
  readonly spec: { readonly nodeName: string };
}

/** A kind that reads what has a name and a node. */
export const testSlices: Kind<TestSlice> = {
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceSlice",
  plural: "resourceslices",
  parse: (value) => {
    const object = value as TestSlice;
    if (typeof object.metadata?.name !== "string" || typeof object.spec?.nodeName !== "string")
      throw new Error("not a slice");
    return object;
  },
};

export const aTestSlice = (name: string, nodeName = "a"): TestSlice => ({
  apiVersion: "resource.k8s.io/v1",
  kind: "ResourceSlice",
  metadata: { name },
  spec: { nodeName },
});

/** Access to a simulated API server. */
export const accessTo = (server: ApiServer, own: Partial<ReturnType<Access["read"]>> = {}): Access => ({
  source: "/etc/kubernetes/kubelet.conf",
  read: () => ({
    server: server.url,
    ca: server.authority.certificate,
    serverName: null,
    token: "secret-token",
    identity: null,
    ...own,
  }),
});
