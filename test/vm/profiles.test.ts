import { expect, test } from "bun:test";
import { defaults, parseProfile, planBoots, testNames, type GuestTest } from "./profiles.ts";

const guestTest = (name: string, source: string): GuestTest => ({
  name,
  path: `/guest/${name}.vm.ts`,
  profile: parseProfile(source),
  tests: [],
});

test("a file without a boot line gets the default machine", () => {
  expect(parseProfile('import { test } from "bun:test";\n')).toEqual(defaults);
});

test("a boot line changes what it names and nothing else", () => {
  expect(parseProfile("// boot: disk=node memory=3072\n// Says what it is for.\n")).toEqual({
    ...defaults,
    disk: "node",
    memory: 3072,
  });
});

test("a contradictory boot line is rejected", () => {
  expect(() => parseProfile("// boot: disc=node")).toThrow('unknown key "disc"');
  expect(() => parseProfile("// boot: iommu=yes")).toThrow('iommu is one of on, off, not "yes"');
  expect(() => parseProfile("// boot: needs=bundle")).toThrow('needs is one of nothing, image, not "bundle"');
  expect(() => parseProfile("// boot: containerd=3")).toThrow('containerd is one of 1.7, 2, not "3"');
  expect(() => parseProfile("// boot: memory=2G")).toThrow('memory is a number, not "2G"');
  expect(() => parseProfile("// boot: memory")).toThrow('memory is a number, not ""');
});

test("files that need the same machine share a boot, whatever their time limits", () => {
  const boots = planBoots([
    guestTest("links", ""),
    guestTest("kubelet", "// boot: disk=node"),
    guestTest("vfio", "// boot: limit=300"),
    guestTest("hotplug", "// boot: alone=yes"),
    guestTest("cdi", "// boot: disk=node containerd=2"),
  ]);
  expect(boots.map(({ name, tests }) => [name, tests.map(({ name }) => name)])).toEqual([
    ["boot", ["links", "vfio"]],
    ["kubelet", ["kubelet"]],
    ["hotplug", ["hotplug"]],
    ["cdi", ["cdi"]],
  ]);
});

test("two boots never have the same name", () => {
  const sources = ["", "// boot: iommu=off", "// boot: topology=flat", "// boot: iommu=off topology=flat"];
  const boots = planBoots(
    sources.flatMap((source, index) => [guestTest(`a${index}`, source), guestTest(`b${index}`, source)]),
  );
  expect(new Set(boots.map(({ name }) => name)).size).toBe(4);
});

test("test names are read from the source for files that can't be run", () => {
  const source = `
test("plain", () => {});
describe("scope", () => {
  test.skip('quote\\'s', () => {});
  it.each([1, 2])("number %d", () => {});
  test(
    "on its own line",
    async () => {},
  );
});
const contest = attest("not one");
`;
  expect(testNames(source)).toEqual(["plain", "quote's", "number %d", "on its own line"]);
});
