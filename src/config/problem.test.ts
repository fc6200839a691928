import { describe, expect, test } from "bun:test";
import { entry, list, load, loadEntry, loadSelector, problemsOf } from "../../test/support/load-config.ts";
import { limits } from "../limits.ts";
import { didYouMean, formatProblem } from "./problem.ts";

describe("problems", () => {
  test("are all reported at once, in the order of the file, with line and column", () => {
    const text = `{
  "resourceList": [
    { "resourceName": "a/b", "selectors": [{ "vendor": ["8086"] }] },
    { "resourceName": "c",
      "deviceType": "disk", "excludeTopology": 1 },
  ],
}`;
    const { specs, problems } = load(text);
    expect(specs).toBeNull();
    expect(problems.map((problem) => formatProblem("f", problem).split(": ").slice(0, 3).join(" "))).toEqual([
      "f:3:23 error resourceList[0].resourceName",
      "f:3:46 error resourceList[0].selectors[0].vendor",
      "f:4:5 error resourceList[1].selectors",
      "f:5:21 error resourceList[1].deviceType",
      "f:5:48 error resourceList[1].excludeTopology",
    ]);
  });

  test("point at the value inside a list", () => {
    expect(
      load('{"resourceList":[{"resourceName":"a",\n"selectors":[{"vendors":["8086", 1]}]}]}').problems,
    ).toContainEqual(expect.objectContaining({ severity: "skip", line: 2, column: 34 }));
  });

  test("of the syntax point at the place", () => {
    expect(load('{\n  "resourceList": [}\n}').problems[0]).toMatchObject({ line: 2, column: 20, path: "" });
  });

  test("of an entry that is skipped say so", () => {
    const problem = loadEntry({ selectors: [] }).problems.find(({ severity }) => severity === "skip");
    expect(problem && formatProblem("/etc/x.json", problem)).toBe(
      '/etc/x.json:1:50: error: entry skipped: resourceList[0].selectors: empty; write which devices the pool gets, as in [{"vendors": ["8086"], "drivers": ["iavf"]}]',
    );
  });

  test("of one object are all reported, and those of an entry whose device type is unknown", () => {
    const loaded = load(
      list(
        entry({ resourceName: "a b", linkHealth: 1, deviceType: "netdevice", selectors: [{ vendors: "8086" }] }),
        entry({ resourceName: "b", selectors: [{ vendors: 1, devices: ["154C"], isRdma: true, vdpaType: "vhost" }] }),
        entry({ resourceName: "c" }),
        entry({ resourceName: "c", linkHealth: 1 }),
      ),
    );
    expect(loaded.problems.map(({ severity, path }) => `${severity} ${path}`)).toEqual([
      "error resourceList[0].resourceName",
      "skip resourceList[0].selectors[0].vendors",
      "error resourceList[0].linkHealth",
      "error resourceList[0].deviceType",
      "error resourceList[1].selectors[0]",
      "skip resourceList[1].selectors[0].vendors",
      "warning resourceList[1].selectors[0].devices",
      "error resourceList[3]",
      "error resourceList[3].linkHealth",
    ]);
  });

  test("show the value that was found, with the space at its end", () => {
    expect(problemsOf(loadEntry({ resourceName: "sriov " }))).toEqual([expect.stringContaining('found "sriov "')]);
    expect(problemsOf(loadEntry({ resourcePrefix: "intel.com " }))).toEqual([
      expect.stringContaining('found "intel.com "'),
    ]);
    expect(problemsOf(loadSelector({ vdpaType: "vhost " }))).toContainEqual(expect.stringContaining('found "vhost "'));
    expect(problemsOf(loadSelector({ pfNames: ["ens1f0 "] }))).toEqual([
      expect.stringContaining('"ens1f0 " can never match'),
    ]);
    expect(problemsOf(loadSelector({ drivers: [" iavf"] }))).toEqual([
      expect.stringContaining('" iavf" can never match'),
    ]);
    expect(problemsOf(loadEntry({ resourceName: "x ".repeat(1000) }))[0]?.length).toBeLessThan(300);
  });

  test.each([
    ["netdevice", 'did you mean "netDevice"?'],
    ["vfio", '"drivers": ["vfio-pci"] inside "selectors"'],
    ["rdma", '"isRdma": true inside "selectors"'],
  ])("of the device type %s say what it is now", (deviceType, hint) => {
    expect(problemsOf(loadEntry({ deviceType }))).toEqual([expect.stringContaining(hint)]);
  });

  test("of keys in a wrong place say where they belong", () => {
    const { resourceName, selectors } = entry();
    const loaded = load({
      selectors,
      resourceList: [
        {
          resourceName,
          isRdma: true,
          pfName: ["x"],
          selectors: { vendors: ["8086"], resourcePrefix: "a.b", resourceList: [] },
        },
        { resourceName: "b", rootDevices: ["0000:5e:00.0"] },
      ],
    });
    expect(problemsOf(loaded)).toEqual([
      'warning selectors: ignored here; it belongs in the entry, beside "selectors"',
      'warning resourceList[0].isRdma: ignored here; it is a selector and belongs inside "selectors"',
      'warning resourceList[0].pfName: unknown key, ignored; did you mean "pfNames"? It is a selector and belongs inside "selectors"',
      'warning resourceList[0].selectors.resourcePrefix: it belongs in the entry, beside "selectors": ignored',
      "warning resourceList[0].selectors.resourceList: it belongs at the top of the file: ignored",
      'error resourceList[1].selectors: missing; "rootDevices" belongs inside "selectors"',
      'warning resourceList[1].rootDevices: ignored here; it is a selector and belongs inside "selectors"',
    ]);
  });

  test.each([
    ["{ 'resourceList': [] }", "3 not JSON: strings are in double quotes (\"), found '"],
    ["{ \u201CresourceList\u201D: [] }", '3 not JSON: strings are in double quotes ("), found \u201C'],
    ['{\u00A0"resourceList": [] }', "2 not JSON: invalid symbol U+00A0"],
    ['{ "resourceList": [] }\u200B', "23 not JSON: invalid symbol U+200B"],
  ])("of %j name a character that only looks right", (text, first) => {
    expect(load(text).problems.map(({ column, message }) => `${column} ${message}`)[0]).toBe(first);
  });

  test("of comments behind # say how comments begin, once each, and of nothing else in them", () => {
    const text = `{ # [ "a
      "resourceList": [ #}
        {"resourceName": "a # b", "selectors": {"vendors": ["8086"]}}, // # fine
        # "last"
      ]
    }`;
    expect(load(text).problems.map(({ line, column, message }) => `${line}:${column} ${message}`)).toEqual([
      '1:3 not JSON: comments begin with "//", not with "#"',
      '2:25 not JSON: comments begin with "//", not with "#"',
      '4:9 not JSON: comments begin with "//", not with "#"',
    ]);
    expect(load(`#${"#".repeat(1 << 19)}`).problems).toHaveLength(1);
    expect(load("# a\r\n".repeat(100_000)).problems.length).toBeLessThanOrEqual(limits.problems.max + 1);
  });

  test("stay on one line whatever a key holds", () => {
    const loaded = loadEntry({ "x\nforged line": 1, selectors: [{ "\u001b[31m\n": 1 }] });
    for (const problem of loaded.problems) expect(formatProblem("f", problem)).not.toMatch(/\p{Cc}/u);
  });

  test("of an empty file say how a file without pools is written", () => {
    expect(load("").problems[0]?.message).toContain('{"resourceList": []}');
  });

  test("never show what additionalInfo holds", () => {
    const secret = "hunter2-s3cr3t";
    const mistakes: unknown[] = [
      { "*": { token: [secret] } },
      { "*": { token: { deep: secret } } },
      { "*": secret },
      [secret],
      secret,
      { "*": { token: secret, other: 1 } },
    ];
    for (const additionalInfo of mistakes) {
      const loaded = loadEntry({ additionalInfo, selectors: [{ vendors: 1 }], resourceName: "a/b" });
      expect(loaded.problems.length).toBeGreaterThan(0);
      expect(JSON.stringify(loaded.problems)).not.toContain(secret);
    }
    const broken = JSON.stringify(list(entry({ additionalInfo: { "*": { token: secret } } })));
    for (let cut = 1; cut < broken.length; cut++) {
      expect(JSON.stringify(load(broken.slice(0, cut)).problems)).not.toContain(secret);
    }
  });

  test("name the key that was probably meant, and none when no key is near", () => {
    const known = ["vendors", "drivers", "rootDevices"];
    const words = ["vendor", "Drvers", "rootDevice", "speed", "", "x".repeat(5000)];
    expect(words.map((word) => didYouMean(word, known))).toEqual([
      "vendors",
      "drivers",
      "rootDevices",
      null,
      null,
      null,
    ]);
  });
});
