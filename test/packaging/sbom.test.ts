// Is the SBOM what scanners and validators take? Made here for a small stand-in of the executable; bundle.test.ts reads the one that is handed out.

import { describe, expect, test } from "bun:test";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import {
  bundledPackages,
  licenseExpression,
  licensesIn,
  licenseText,
  urlOf,
} from "../../scripts/release/bundled-packages.ts";
import { sbom, uuidOf } from "../../scripts/release/sbom.ts";

const packages = await bundledPackages();
const subject = {
  architecture: "amd64",
  executable: Buffer.from("executable"),
  packages,
  glibc: "2.41-12+deb13u5",
  time: new Date(1_700_000_000_000),
} as const;
const text = sbom(subject);

/** All values below a key, at any depth. */
function valuesOf(value: unknown, key: string): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) => [
    ...(name === key ? [child as unknown] : []),
    ...valuesOf(child, key),
  ]);
}

describe("the SBOM", () => {
  test("passes CycloneDX's strict validation of 1.5, which would refuse a field that is not in it", async () => {
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot5);
    expect(await validator.validate(text)).toBeNull();
    expect(await validator.validate(text.replace('"components"', '"component"'))).not.toBeNull();
    expect(await validator.validate(text.replace(/"serialNumber": ".*?"/, '"serialNumber": "1"'))).not.toBeNull();
  });

  test("refers to URLs only", () => {
    const urls = valuesOf(JSON.parse(text), "url") as string[];
    expect(urls.length).toBeGreaterThan(packages.length / 2);
    // RFC 3987: an IRI has a scheme; "git@github.com:owner/name" has none.
    for (const url of urls) expect([url, /^(https?|git|ssh):\/\/[^\s<>"{}|\\^`]+$/.test(url)]).toEqual([url, true]);
  });

  test("has a serial number of its content: the same for the same, another for another", () => {
    const serial = (of: string) => (JSON.parse(of) as { serialNumber: string }).serialNumber;
    expect(serial(text)).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(sbom(subject)).toBe(text);
    expect(serial(sbom({ ...subject, executable: Buffer.from("other") }))).not.toBe(serial(text));
    expect(serial(sbom({ ...subject, architecture: "arm64" }))).not.toBe(serial(text));
  });

  test("names every package that the bundler took in, with its hash and what it requires", () => {
    const bom = JSON.parse(text) as {
      components: { "bom-ref": string; purl: string; hashes?: { content: string }[] }[];
      dependencies: { ref: string; dependsOn: string[] }[];
    };
    expect(packages.length).toBeGreaterThan(5);
    for (const { name, version } of packages) {
      const component = bom.components.find((each) => each["bom-ref"] === `${name}@${version}`);
      expect(component?.purl).toBe(`pkg:npm/${name.replace("@", "%40")}@${version}`);
      expect(component?.hashes?.[0]?.content).toMatch(/^[0-9a-f]{128}$/);
    }
    const reached = new Set<string>();
    const visit = (ref: string): void => {
      if (reached.has(ref)) return;
      reached.add(ref);
      for (const to of bom.dependencies.find((each) => each.ref === ref)?.dependsOn ?? []) visit(to);
    };
    visit(bom.dependencies[0]?.ref ?? "");
    for (const { name, version } of packages) expect(reached).toContain(`${name}@${version}`);
  });
});

test("UUIDs are those of RFC 9562, version 5", () => {
  // What Python's uuid.uuid5(uuid.NAMESPACE_URL, …) gives.
  expect(uuidOf("http://www.example.com/")).toBe("fcde3c85-2270-590f-9e7c-ee003d65e0e2");
});

test("repositories are written as URLs, whatever form a package.json has them in", () => {
  for (const [given, url] of [
    ["github:eemeli/yaml", "https://github.com/eemeli/yaml"],
    ["eemeli/yaml", "https://github.com/eemeli/yaml"],
    ["gitlab:a/b", "https://gitlab.com/a/b"],
    ["git@github.com:siimon/prom-client.git", "ssh://git@github.com/siimon/prom-client.git"],
    ["git+https://github.com/a/b.git", "https://github.com/a/b.git"],
    ["git+ssh://git@github.com/a/b.git", "ssh://git@github.com/a/b.git"],
    ["git://github.com/a/b.git", "git://github.com/a/b.git"],
    ["https://github.com/a/b", "https://github.com/a/b"],
    ["not a url", null],
    [null, null],
  ] as const)
    expect([given, urlOf(given)]).toEqual([given, url]);
});

test("the licenses of all parts are one expression, without one that is missing or there twice", () => {
  const expression = licenseExpression(packages);
  const terms = expression.split(" AND ");
  expect(new Set(terms).size).toBe(terms.length);
  for (const id of [
    "Apache-2.0",
    "MIT",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "LGPL-2.1-or-later",
    "LGPL-2.0-or-later",
  ])
    expect(terms).toContain(id);
  for (const { license } of packages) for (const id of licensesIn(license)) expect(expression).toContain(id);
  for (const id of licensesIn(expression)) expect(licenseText(id).length).toBeGreaterThan(100);
});
