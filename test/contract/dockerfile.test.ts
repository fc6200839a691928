// Does the Dockerfile make the image that scripts/image/image.ts makes? Its file list is the script's; what it says itself is compared here.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { validate } from "dockerfile-utils";
import { bundledPackages, licenseExpression } from "../../scripts/release/bundled-packages.ts";
import { settings } from "../../scripts/build/environment.ts";
import { labelsOf } from "../../scripts/image/labels.ts";
import manifest from "../../package.json" with { type: "json" };

const text = readFileSync(`${import.meta.dir}/../../Dockerfile`, "utf8");
const script = readFileSync(`${import.meta.dir}/../../scripts/image/image.ts`, "utf8");
const [, ...stages] = text.split(/^(?=FROM )/m);

test("it has nothing that the linter objects to", () => {
  expect(validate(text).map(({ message }) => message)).toEqual([]);
  expect(validate("FRM debian\n")).not.toEqual([]);
});

test("its last stage is empty but for the files that scripts/image/image.ts lays out", () => {
  const [glibc, build, last] = stages;
  expect(stages).toHaveLength(3);
  expect(glibc?.trim()).toBe("FROM ${DEBIAN} AS glibc");
  expect(build).toMatch(
    /bun scripts\/image\/image\.ts .*--executable=dist\/sriovdp --glibc-root=\/glibc --folder=\/image$/m,
  );
  expect(last).toStartWith("FROM scratch\n");
  expect(last?.match(/^(COPY|ADD|RUN|USER|WORKDIR|VOLUME|CMD) .*/gm)).toEqual(["COPY --from=build /image/ /"]);
});

test("it sets the environment that the archive sets", () => {
  expect(text.match(/^ENV .*/gm)).toEqual([`ENV ${settings.join(" ")}`]);
});

test("it starts and labels the image as scripts/image/image.ts does", async () => {
  expect(/^ENTRYPOINT (.*)$/m.exec(text)?.[1]).toBe(/entrypoint: (\[.*\]),$/m.exec(script)?.[1] ?? "");
  const labels = [...text.matchAll(/(org\.opencontainers\.image\.[\w.]+)="([^"]*)"/g)].map(([, name, value]) => [
    name,
    value,
  ]);
  const stamp = { version: "${VERSION}", revision: "${COMMIT}", created: new Date(0) };
  // The time of creation is what the builder takes from SOURCE_DATE_EPOCH.
  const { "org.opencontainers.image.created": _, ...made } = labelsOf({
    ...stamp,
    licenses: licenseExpression(await bundledPackages()),
  });
  expect(Object.fromEntries(labels)).toEqual(made);
});

test("its bases are pinned: the Bun of package.json, a release of Debian, each with room for a digest", () => {
  const bases = Object.fromEntries(
    [...text.matchAll(/^ARG (DEBIAN|BUN)=(.*)$/gm)].map(([, name, value]) => [name, value]),
  );
  expect(bases["BUN"]?.split("@")[0]).toBe(`oven/bun:${manifest.devDependencies.bun}-slim`);
  expect(bases["DEBIAN"]).toMatch(/^debian:\d+\.\d+-slim(@sha256:[0-9a-f]{64})?$/);
});
