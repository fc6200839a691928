import { describe, expect, test } from "bun:test";
import { developmentVersion, version } from "../build/checkout.ts";
import { nameOf, type Naming } from "./name.ts";

const naming: Naming = {
  tag: null,
  release: false,
  version: "0.1.0",
  developmentVersion: "0.2.0-dev",
  revision: "0123456789ab",
  architecture: null,
  content: "c".repeat(64),
};
const named = (change: Partial<Naming>) => {
  const { name, tag } = nameOf({ ...naming, ...change });
  return `${name}:${tag}`;
};

describe("the image's name", () => {
  test("is the commit's, as a pre-release of the next version", () => {
    expect(named({})).toBe("localhost/sriovdp:0.2.0-dev.0123456789ab");
    expect(Bun.semver.order("0.2.0-dev.0123456789ab", "0.2.0")).toBe(-1);
    expect(Bun.semver.order(developmentVersion, version)).toBe(1);
    expect(developmentVersion).toMatch(/^\d+\.\d+\.0-dev$/);
  });

  test("is the version of a release, and of a release alone", () => {
    expect(named({ release: true })).toBe("localhost/sriovdp:0.1.0");
    for (const revision of ["0123456789ab-dirty", "unknown"])
      expect(() => named({ release: true, revision })).toThrow(`this checkout is ${revision}`);
  });

  test("differs for a checkout with changes by what is in the image", () => {
    const revision = "0123456789ab-dirty";
    expect(named({ revision })).toBe("localhost/sriovdp:0.2.0-dev.0123456789ab-dirty.cccccccccccc");
    expect(named({ revision, content: "d".repeat(64) })).not.toBe(named({ revision }));
    expect(named({ revision: "unknown" })).toEndWith("-dev.unknown.cccccccccccc");
  });

  test("of one architecture alone is another than that of all", () => {
    expect(named({ architecture: "arm64" })).toBe("localhost/sriovdp:0.2.0-dev.0123456789ab-arm64");
  });

  test("is the requested one, unless it is not a name", () => {
    expect(named({ tag: "registry.example.com:5000/a/b:1" })).toBe("registry.example.com:5000/a/b:1");
    for (const tag of ["a", "registry.example.com:5000/a", ":1", "a:"])
      expect(() => named({ tag })).toThrow("--tag requires NAME:TAG");
  });

  test("is a tag that registries take, and a label that Kubernetes takes, as the chart's appVersion", () => {
    for (const revision of ["0123456789ab", "0123456789ab-dirty", "unknown"]) {
      const { tag } = nameOf({ ...naming, revision, architecture: "amd64" });
      // https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
      expect(tag).toMatch(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/);
      expect(tag).toMatch(/^[A-Za-z0-9][-A-Za-z0-9_.]{0,61}[A-Za-z0-9]$/);
    }
  });
});
