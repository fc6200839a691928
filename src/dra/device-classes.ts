// Which DeviceClasses let unchanged pods get their devices by DRA? One a resource, with the extended resource's name (KEP-5004).
// They belong to the whole cluster: written out for its administrator, never created by a node. Pure.

import type { PoolSpec } from "../pools/pool.ts";
import { apiLimits, resourceProblem, shortened, withHash } from "./api-names.ts";

/** A DeviceClass, in the shape in which it is written. */
export interface DeviceClass {
  readonly apiVersion: "resource.k8s.io/v1";
  readonly kind: "DeviceClass";
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selectors: readonly { readonly cel: { readonly expression: string } }[];
    /** What pods request: "intel.com/sriov_net_A". */
    readonly extendedResourceName: string;
  };
}

type NamedPool = Pick<PoolSpec, "resource" | "prefix" | "name">;

/** How long the first part of a class's name may be: a DNS label. */
const longestLabel = 63;

/** The pool's name as a DNS label; it begins and ends with a letter or digit already. */
const labelOf = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9]/g, "-");

/**
 * The class of each resource, in the order of the config. "intel.com/sriov_net_A" becomes "sriov-net-a.intel.com". Where several
 * resources would have one name, only a resource that is written exactly so has it, and the others end in a hash. Resources that
 * can't be published have no class.
 */
export function deviceClassesOf(specs: readonly NamedPool[], driver: string): DeviceClass[] {
  const publishable = specs.filter(({ resource }) => resourceProblem(resource) === null);
  const namesakes = Map.groupBy(publishable, ({ prefix, name }) => `${labelOf(name)}.${prefix}`);
  return publishable.map(({ resource, prefix, name }) => {
    const label = labelOf(name);
    const isShared = (namesakes.get(`${label}.${prefix}`) ?? []).length > 1 && label !== name;
    const own = isShared ? withHash(label, resource, longestLabel) : label;
    return {
      apiVersion: "resource.k8s.io/v1",
      kind: "DeviceClass",
      metadata: { name: shortened(`${own}.${prefix}`, apiLimits.objectName) },
      spec: { selectors: [{ cel: { expression: selectorOf(resource, driver) } }], extendedResourceName: resource },
    };
  });
}

/** A driver's devices of a resource. A device without the attribute must not match, nor fail the pod's scheduling by an error. */
function selectorOf(resource: string, driver: string): string {
  const multus = 'device.attributes["k8s.cni.cncf.io"]';
  return [
    `device.driver == ${JSON.stringify(driver)}`,
    `has(${multus}.resourceName)`,
    `${multus}.resourceName == ${JSON.stringify(resource)}`,
  ].join(" && ");
}
