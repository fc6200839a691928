// Has docs/reference/output.md every field of the JSON that the commands print, and no other?

import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { exampleConfig } from "../../scripts/docs/example.ts";
import { host, removeTemporaryFolder, runCommand, temporaryFolder } from "../support/plugin.ts";
import { unpack } from "../support/tree.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const page = readFileSync(`${import.meta.dir}/../../docs/reference/output.md`, "utf8");

/** The fields in the first column of the table of a section. */
const documented = (section: string): string[] => {
  const text = page.slice(page.indexOf(`\n## ${section}\n`) + 4).split("\n## ")[0] ?? "";
  const cells = [...text.matchAll(/^\| ([^|]*`[^|]*) \|/gm)].map(([, cell = ""]) => cell);
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, field = ""]) => field)).sort();
};

/** The paths of all fields of a value, as the page writes them: "pools[].resource". */
function pathsOf(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => pathsOf(each, `${path}[]`));
  if (value === null || typeof value !== "object") return [path.replace(/\[\]$/, "")];
  return Object.entries(value).flatMap(([key, each]) => pathsOf(each, path === "" ? key : `${path}.${key}`));
}

const odd = [
  { resourceName: "late", selectors: [{ drivers: ["iavf"] }] },
  { resourceName: "none", selectors: [{ vendors: ["ffff"] }] },
];

/** What a command prints on recorded nodes that together have every fact. */
function onNodes(...args: string[]): unknown[] {
  return ["mixed", "uio-vfs", "vdpa-vhost"].map((name) => {
    const root = temporaryFolder();
    unpack(host(name), root);
    mkdirSync(`${root}/etc/pcidp`, { recursive: true });
    writeFileSync(
      `${root}/etc/pcidp/config.json`,
      JSON.stringify({ resourceList: [...exampleConfig.resourceList, ...odd] }),
    );
    const { stdout } = runCommand([...args, "-o", "json", "--root", root]);
    removeTemporaryFolder(root);
    return JSON.parse(stdout) as unknown;
  });
}

test("every field of a device that discover prints is documented, and no other", () => {
  const devices = onNodes("discover").flat() as Record<string, unknown>[];
  const fields = [...new Set(devices.flatMap((device) => Object.keys(device)))].sort();
  expect(documented("discover")).toEqual(fields);
  // "Every field stands always."
  for (const device of devices) expect(Object.keys(device).sort()).toEqual(fields);
});

test("every field that explain prints is documented, and no other", () => {
  const names = ["kernel_vfs", "dpdk_vfs", "roce_vfs", "fpga", "late", "none", "ens1f0v0", "eno1"];
  const fields = new Set(onNodes("explain", ...names).flatMap((printed) => pathsOf(printed)));
  const told = [...fields]
    .map((path) => path.replace(/(resources\[\]\.selectors\[\]).*/, "$1").replace(/\[\]$/, ""))
    .filter((path) => path.includes("[]."));
  expect(
    documented("explain")
      .map((path) => path.replace(/\[\]$/, ""))
      .sort(),
  ).toEqual([...new Set(told)].sort());
});

test("every field that validate prints is documented, and no other", () => {
  const fields = new Set(onNodes("validate").flatMap((printed) => pathsOf(printed)));
  expect(documented("validate")).toEqual([...fields].sort());
});
