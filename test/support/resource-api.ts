// What does the API server refuse of a ResourceSlice or a DeviceClass? Fields that it does not know (api/resource/v1/types.go), and what
// pkg/apis/resource/validation checks: forms and lengths of names, what goes together, and what an update must not change.

import * as v from "valibot";
import type { DeviceClass } from "../../src/dra/device-classes.ts";
import type { ResourceSlice } from "../../src/dra/resource-slice.ts";

const texts = v.record(v.string(), v.string());

const metadata = v.strictObject({
  name: v.string(),
  uid: v.optional(v.string()),
  resourceVersion: v.optional(v.string()),
  labels: v.optional(texts),
  annotations: v.optional(texts),
  finalizers: v.optional(v.array(v.string())),
  managedFields: v.optional(v.array(v.looseObject({}))),
  ownerReferences: v.optional(
    v.array(
      v.strictObject({
        apiVersion: v.string(),
        kind: v.string(),
        name: v.string(),
        uid: v.string(),
        controller: v.optional(v.boolean()),
      }),
    ),
  ),
});

const group = { apiVersion: v.literal("resource.k8s.io/v1"), metadata };

const sliceFields = v.strictObject({
  ...group,
  kind: v.literal("ResourceSlice"),
  spec: v.strictObject({
    driver: v.string(),
    nodeName: v.string(),
    pool: v.strictObject({ name: v.string(), generation: v.number(), resourceSliceCount: v.number() }),
    devices: v.array(
      v.strictObject({
        name: v.string(),
        attributes: v.record(
          v.string(),
          v.union([
            v.strictObject({ string: v.string() }),
            v.strictObject({ int: v.number() }),
            v.strictObject({ bool: v.boolean() }),
          ]),
        ),
        taints: v.optional(
          v.array(
            v.strictObject({
              key: v.string(),
              value: v.optional(v.string()),
              effect: v.string(),
              timeAdded: v.optional(v.string()),
            }),
          ),
        ),
      }),
    ),
  }),
});

const classFields = v.strictObject({
  ...group,
  kind: v.literal("DeviceClass"),
  spec: v.strictObject({
    selectors: v.array(v.strictObject({ cel: v.strictObject({ expression: v.string() }) })),
    extendedResourceName: v.string(),
  }),
});

/** Fields that are missing, of another type or unknown, in the form in which the object is sent. */
const fieldProblems = (schema: v.GenericSchema, object: unknown): string[] =>
  (v.safeParse(schema, JSON.parse(JSON.stringify(object))).issues ?? []).map(
    (issue) => `${v.getDotPath(issue) ?? "object"}: ${issue.message}`,
  );

const subdomain = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;
const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;
const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;
const labelValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;

const isSubdomain = (text: string, max: number): boolean => text.length <= max && subdomain.test(text);

/** A name that may have a domain before it. */
function isQualified(name: string): boolean {
  const [first = "", second, ...more] = name.split("/");
  if (more.length > 0) return false;
  const id = second ?? first;
  return id.length <= 32 && identifier.test(id) && (second === undefined || isSubdomain(first, 63));
}

const isLabelKey = (key: string): boolean => {
  const [prefix = "", name = ""] = key.split("/");
  return isSubdomain(prefix, 253) && name.length <= 63 && name !== "" && labelValue.test(name);
};

/** All that the API server would refuse, each with where it is; of an update, `before` is what it has. */
export function sliceProblems(slice: ResourceSlice, before?: ResourceSlice): string[] {
  const { metadata, spec } = slice;
  const problems = fieldProblems(sliceFields, slice);
  const expect = (isRight: boolean, where: string) => {
    if (!isRight) problems.push(where);
  };
  const { driver, nodeName = "", pool, devices = [] } = spec;
  expect(isSubdomain(metadata.name, 253), `name ${metadata.name}`);
  expect(isSubdomain(driver, 63), `driver ${driver}`);
  expect(isSubdomain(nodeName, 253), `node ${nodeName}`);
  expect(pool.name.length <= 253 && pool.name.split("/").every((part) => subdomain.test(part)), `pool ${pool.name}`);
  expect(Number.isInteger(pool.generation) && pool.generation >= 0, `generation ${pool.generation}`);
  expect(pool.resourceSliceCount >= 1, `count ${pool.resourceSliceCount}`);
  const isTainted = devices.some(({ taints = [] }) => taints.length > 0);
  expect(devices.length <= (isTainted ? 64 : 128), `${devices.length} devices`);
  expect(new Set(devices.map(({ name }) => name)).size === devices.length, "a device twice");
  for (const { name, attributes, taints = [] } of devices) {
    expect(name.length <= 63 && label.test(name), `device ${name}`);
    expect(Object.keys(attributes).length <= 32, `attributes of ${name}`);
    for (const [key, value] of Object.entries(attributes)) {
      expect(isQualified(key), `attribute ${key}`);
      expect(Object.keys(value).length === 1, `value of ${key}`);
      if ("string" in value) expect(Buffer.byteLength(String(value.string)) <= 64, `length of ${key}`);
      if ("int" in value) expect(Number.isSafeInteger(value.int), `number of ${key}`);
    }
    expect(taints.length <= 16, `taints of ${name}`);
    for (const { key, value = "", effect } of taints) {
      expect(isLabelKey(key), `taint ${key}`);
      expect(value.length <= 63 && labelValue.test(value), `value of taint ${key}`);
      expect(["None", "NoSchedule", "NoExecute"].includes(effect), `effect of taint ${key}`);
    }
  }
  if (before) {
    const immutable = (slice: ResourceSlice["spec"]) => [slice.driver, slice.nodeName, slice.pool.name].join(" ");
    expect(immutable(spec) === immutable(before.spec), "an immutable field");
    expect(metadata.resourceVersion === before.metadata.resourceVersion, "resourceVersion");
  }
  return problems;
}

/** All that the API server would refuse of a class; its expression is not read. */
export function classProblems(deviceClass: DeviceClass): string[] {
  const { metadata, spec } = deviceClass;
  const [prefix = "", name = ""] = spec.extendedResourceName.split("/");
  const isExtended =
    isSubdomain(`requests.${prefix}`, 253) && name !== "" && name.length <= 63 && labelValue.test(name);
  return [
    ...fieldProblems(classFields, deviceClass),
    ...(isSubdomain(metadata.name, 253) ? [] : [`name ${metadata.name}`]),
    ...(isExtended ? [] : [`resource ${spec.extendedResourceName}`]),
    ...(spec.selectors.every(({ cel }) => cel.expression.length <= 10_240) ? [] : ["a long expression"]),
  ];
}
