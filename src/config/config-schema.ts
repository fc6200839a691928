// What may be in the config file? The keys of the file and the form of an entry; that of its selectors is in pools/selectors.ts.

import * as v from "valibot";
import { limits } from "../limits.ts";
import { deviceTypeNames } from "../pools/device-types.ts";
import { preferences } from "../pools/pool.ts";

/** Keys of the top level; by "$schema" an editor finds docs/reference/config.schema.json. */
export const fileKeys = ["resourceList", "$schema"] as const;

/** Keys that the operator's older and newer releases write beside the known ones and that mean nothing. */
export const meaninglessKeys: ReadonlySet<string> = new Set(["selectorobj", "selectorobjs"]);

const quotedList = (names: readonly string[]) => names.map((name) => JSON.stringify(name)).join(", ");

const text = v.string("expected a string");
const flag = v.boolean("expected true or false");

/**
 * A JSON object whose values have one form; null values mean the default of that form, as for Go's JSON library. Checked
 * as a Map: valibot's record drops "__proto__", "constructor" and "prototype", which are keys like any other here.
 */
const objectOf = <T>(values: v.GenericSchema<unknown, T>, empty: T, expected: string) =>
  v.pipe(
    v.custom<object>((value) => typeof value === "object" && value !== null && !Array.isArray(value), expected),
    v.transform((value) => new Map(Object.entries(value))),
    v.map(text, v.nullable(values, empty)),
    v.transform((value) => Object.fromEntries(value) as Record<string, T>),
  );

/** Names that Kubernetes accepts behind the "/" (IsQualifiedName), further narrowed as the upstream plugin does. */
export const resourceNameSchema = v.pipe(
  text,
  v.regex(/^[a-zA-Z0-9_-]+$/, 'only letters, digits, "_" and "-" can be used, as in "sriov_net_A"'),
  v.regex(/^[a-zA-Z0-9](.*[a-zA-Z0-9])?$/s, "must begin and end with a letter or digit"),
  v.maxLength(limits.nameLength.max, `Kubernetes takes at most ${limits.nameLength.max} characters`),
);

/** Prefixes that make an extended resource name (IsExtendedResourceName, IsDNS1123Subdomain). */
export const resourcePrefixSchema = v.pipe(
  text,
  v.regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    'must be a lowercase DNS name, as in "intel.com"',
  ),
  v.maxLength(limits.prefixLength.max, `Kubernetes takes at most ${limits.prefixLength.max} characters`),
  v.check((prefix) => !`${prefix}/`.includes("kubernetes.io/"), 'names below "kubernetes.io" belong to Kubernetes'),
  v.check((prefix) => !prefix.startsWith("requests."), 'Kubernetes refuses names that start with "requests."'),
);

/** The fields of an entry of resourceList, without its selectors; each with its text for docs/reference/. */
export const entryFields = {
  resourceName: v.pipe(resourceNameSchema, v.description("Name of the resource, unique within its prefix")),
  resourcePrefix: v.optional(
    v.pipe(resourcePrefixSchema, v.description("Prefix of the resource; --resource-prefix by default")),
  ),
  deviceType: v.optional(
    v.pipe(
      v.picklist(deviceTypeNames, `expected ${quotedList(deviceTypeNames)}`),
      v.description("The type of the pool's devices"),
    ),
    "netDevice",
  ),
  excludeTopology: v.optional(
    v.pipe(flag, v.description("Do not report the devices' NUMA nodes to the kubelet")),
    false,
  ),
  additionalInfo: v.optional(
    v.pipe(
      objectOf(objectOf(text, "", "expected an object of strings"), {}, "expected an object of objects"),
      v.description('Additional keys for the INFO variable of containers, by device id or "*"'),
    ),
  ),
  linkHealth: v.optional(v.pipe(flag, v.description("Whether link state affects health")), true),
  iommufd: v.optional(
    v.pipe(flag, v.description("Also allocate /dev/vfio/devices/vfioN and /dev/iommu where the kernel has them")),
    false,
  ),
  preferredAllocation: v.optional(
    v.pipe(
      v.picklist(preferences, `expected ${quotedList(preferences)}`),
      v.description(
        "Which free devices the kubelet should allocate: `packed` uses the PF with the fewest free devices, `spread` the one with the most",
      ),
    ),
  ),
};

export const entrySchema = v.object(entryFields, "expected an object");
export const entryKeys = [...Object.keys(entryFields), "selectors"];
