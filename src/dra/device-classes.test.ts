import { describe, expect, test } from "bun:test";
import { classProblems } from "../../test/support/resource-api.ts";
import { deviceClassesOf } from "./device-classes.ts";

const aPool = (resource: string) => {
  const [prefix = "", name = ""] = resource.split("/");
  return { resource, prefix, name };
};

const classesOf = (...resources: readonly string[]) => deviceClassesOf(resources.map(aPool), "sriovdp.example.com");
const namesOf = (...resources: readonly string[]) => classesOf(...resources).map(({ metadata }) => metadata.name);

describe("the classes of a config", () => {
  test("are one a resource, under the name that unchanged pods request", () => {
    expect(classesOf("intel.com/sriov_net_A")).toEqual([
      {
        apiVersion: "resource.k8s.io/v1",
        kind: "DeviceClass",
        metadata: { name: "sriov-net-a.intel.com" },
        spec: {
          selectors: [
            {
              cel: {
                expression:
                  'device.driver == "sriovdp.example.com" && has(device.attributes["k8s.cni.cncf.io"].resourceName) && ' +
                  'device.attributes["k8s.cni.cncf.io"].resourceName == "intel.com/sriov_net_A"',
              },
            },
          ],
          extendedResourceName: "intel.com/sriov_net_A",
        },
      },
    ]);
  });

  test("keep the order of the config", () => {
    expect(namesOf("intel.com/b", "intel.com/a", "mellanox.com/a")).toEqual([
      "b.intel.com",
      "a.intel.com",
      "a.mellanox.com",
    ]);
  });

  test.each([[["intel.com/net-a", "intel.com/net_a", "intel.com/NET.a"]], [["intel.com/net_a", "intel.com/Net-a"]]])(
    "%p have different names, whatever their order",
    (resources) => {
      const names = namesOf(...resources);
      expect(new Set(names).size).toBe(resources.length);
      expect(namesOf(...resources.toReversed())).toEqual(names.toReversed());
      for (const [index, resource] of resources.entries())
        if (resource === "intel.com/net-a") expect(names[index]).toBe("net-a.intel.com");
    },
  );

  test("have no resource that can't be published", () => {
    expect(namesOf(`intel.com/${"a".repeat(54)}`, "intel.com/b")).toEqual([
      `${"a".repeat(54)}.intel.com`,
      "b.intel.com",
    ]);
    expect(namesOf(`intel.com/${"a".repeat(55)}`, "intel.com/b")).toEqual(["b.intel.com"]);
  });

  test.each([
    ["intel.com/a"],
    ["intel.com/0"],
    ["intel.com/a..b__c.-d"],
    [`a.b/${"x_".repeat(29)}x`],
    [`${"p".repeat(60)}/a`],
    ["openshift.io/mlnx_ConnectX-6.Dx"],
  ])("have %s in a form that the API takes", (resource) => {
    const classes = classesOf(
      resource,
      resource.toUpperCase().replace(/^[^/]*/, (prefix) => prefix.toLowerCase()),
    );
    for (const each of classes) {
      expect(classProblems(each)).toEqual([]);
    }
    expect(classes.length).toBeGreaterThan(0);
  });

  test("differ from what the API would refuse", () => {
    const [good] = classesOf("intel.com/a");
    if (!good) throw new Error("no class");
    expect(
      classProblems({ ...good, metadata: { name: "A_b" }, spec: { ...good.spec, extendedResourceName: "a" } }),
    ).toEqual(["name A_b", "resource a"]);
  });
});
