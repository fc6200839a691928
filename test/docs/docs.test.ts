// Is what the Markdown pages say still true? Links, configs, manifests; and no command in them is untested.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { parse as parseJsonc } from "jsonc-parser";
import { parseAllDocuments } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { parseDocument } from "../../src/config/document.ts";
import { clusterPreparations } from "../cluster/docs-preparations.ts";
import { preparations } from "../vm/guest/docs-preparations.ts";
import { configSchemaErrors } from "../support/config-schema.ts";
import { type KubernetesObject, schemaProblems } from "../support/kubernetes.ts";
import { hostNames } from "../support/plugin.ts";
import { machineNames, printsAsSaid, toLab } from "./lab.ts";
import { type Block, directives, type Page, readPage } from "./pages.ts";

const root = join(import.meta.dir, "../..");
const names = [...new Bun.Glob("**/*.md").scanSync({ cwd: root, dot: false })]
  .filter((name) => !/^(node_modules|test-results|dist)\//.test(name))
  .toSorted();
const pages = new Map(names.map((name) => [name, readPage(readFileSync(join(root, name), "utf8"))]));

const loading = { resourcePrefix: "intel.com", useCdi: true, socketNameLimit: 73 };

/** What is wrong with a block, as sentences. */
type Check = (block: Block) => readonly string[] | Promise<readonly string[]>;

const languages: Readonly<Record<string, Check>> = {
  sh: checkCommands,
  json: checkJson,
  yaml: checkYaml,
  text: () => [],
  ini: () => [],
};

function checkCommands({ says, prints }: Block): string[] {
  const problems: string[] = [];
  if (says["not run"] === "") problems.push("say why it is not run: <!-- not run: needs an E810 -->");
  const known = says.machine === "cluster" ? clusterPreparations : preparations;
  for (const name of says.lab?.split(",") ?? [])
    if (!(name.trim() in known)) problems.push(`docs-preparations.ts has no "${name.trim()}"`);
  if (says.machine !== undefined && !(machineNames as readonly string[]).includes(says.machine))
    problems.push(`test/docs/lab.ts has no machine "${says.machine}"`);
  if (says.fixture !== undefined && !hostNames().includes(says.fixture))
    problems.push(`test/hosts has no "${says.fixture}"`);
  if (prints !== null && prints.trim() === "") problems.push("the text block after it is empty");
  return problems;
}

function checkJson({ text, says }: Block): string[] {
  const { syntaxErrors, root } = parseDocument(text);
  if (syntaxErrors.length > 0) return syntaxErrors.map(({ line, message }) => `line ${line} of the block: ${message}`);
  if (says["not a config"] !== undefined) return [];
  const isEntry = root?.children?.some(({ children }) => children?.[0]?.value === "resourceName");
  const config = isEntry ? `{ "resourceList": [${text}] }` : text;
  const loaded = loadConfig(config, loading);
  const misfits = configSchemaErrors(parseJsonc(config, [], { allowTrailingComma: true }));
  if (loaded.problems.length === 0 && loaded.specs?.length === 0) return ["it has no entry; is it a config at all?"];
  return [
    ...loaded.problems.map(({ path, message }) => `${path}: ${message}`),
    ...misfits.map(({ instancePath, message }) => `the schema says of ${instancePath}: ${message}`),
  ];
}

async function checkYaml({ text }: Block): Promise<string[]> {
  const documents = parseAllDocuments(text);
  const problems = documents.flatMap(({ errors }) => errors.map(({ message }) => message));
  if (problems.length > 0) return problems;
  const objects = documents.map((document) => document.toJS() as Partial<KubernetesObject> & Attachment & Config);
  return (await Promise.all(objects.map(checkObject))).flat();
}

interface Config {
  readonly data?: Readonly<Record<string, string>>;
}

interface Attachment {
  readonly spec?: { readonly config?: string };
}

/** By its schema where it is a whole object of Kubernetes; a piece of one is only read. */
async function checkObject(object: Partial<KubernetesObject> & Attachment & Config): Promise<string[]> {
  if (object.kind === "NetworkAttachmentDefinition") return checkAttachment(object);
  // Kustomize reads its own files; no API server does. The objects of Argo CD, Flux, DANM and KubeVirt, and those of DRA, which are newer than the
  // schemas, are only read as YAML.
  if (
    object.apiVersion === undefined ||
    /^kustomize\.config|^argoproj\.io|\.fluxcd\.io\/|^danm\.k8s\.io|^kubevirt\.io|^resource\.k8s\.io/.test(
      object.apiVersion,
    )
  )
    return [];
  const configs = object.kind === "ConfigMap" ? Object.values(object.data ?? {}) : [];
  const inside = configs.flatMap((config) => loadConfig(config, loading).problems.map(({ message }) => message));
  return [...(await schemaProblems(object as KubernetesObject)), ...inside];
}

/** A network attachment holds a CNI config as JSON in a string. */
function checkAttachment({ spec }: Attachment): string[] {
  try {
    const { type, plugins } = JSON.parse(spec?.config ?? "") as { type?: unknown; plugins?: { type?: unknown }[] };
    const types = plugins?.map((each) => each.type) ?? [type];
    return types.every((each) => typeof each === "string") ? [] : ["its spec.config names no CNI plugin (type)"];
  } catch (error) {
    return [`its spec.config is not JSON: ${error}`];
  }
}

describe.each(names)("%s", (name) => {
  const page = pages.get(name) as Page;

  test("can be read by its tests: every block has a fence and a known language", () => {
    const unknown = page.blocks.filter(({ language }) => !(language in languages) && language !== "");
    const untested = unknown.map(({ line, language }) => `${line}: no test handles blocks of "${language}"`);
    expect([...page.problems, ...untested]).toEqual([]);
  });

  test("has only links that lead somewhere", () => {
    const dead = page.links.filter((link) => !leadsSomewhere(name, link));
    expect(dead).toEqual([]);
  });

  test("has only blocks that hold, and commands that are tried or say why not", async () => {
    const problems: string[] = [];
    for (const block of page.blocks) {
      const found = (await languages[block.language]?.(block)) ?? [];
      problems.push(...found.map((problem) => `${name}:${block.line}: ${problem}`));
    }
    expect(problems).toEqual([]);
  });

  test("keeps to docs/ with commands that the virtual machine runs, or says of each why it is not run", () => {
    const untried = page.blocks.filter(
      ({ language, says }) => language === "sh" && says["not run"] === undefined && !name.startsWith("docs/"),
    );
    expect(
      untried.map(({ line }) => `${name}:${line}: only pages in docs/ are tried; add <!-- not run: reason -->`),
    ).toEqual([]);
  });
});

function leadsSomewhere(from: string, link: string): boolean {
  if (/^[a-z]+:/.test(link)) return true;
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? from : normalize(join(dirname(from), path));
  if (!existsSync(join(root, target))) return false;
  return anchor === undefined || pages.get(target)?.anchors.has(anchor) === true;
}

describe("reading a page", () => {
  test("finds blocks with their lines, what comments say of them, and what they print", () => {
    const { blocks, problems } = readPage(
      "# A\n\n<!-- lab: x -->\n<!-- exit status: 2 -->\n```sh\na\n```\n\n```text\nb\n```\n\nWords.\n\n```sh\nc\n```\n",
    );
    expect(problems).toEqual([]);
    expect(blocks).toEqual([
      { line: 5, language: "sh", text: "a", says: { lab: "x", "exit status": "2" }, prints: "b" },
      { line: 9, language: "text", text: "b", says: {}, prints: null },
      { line: 15, language: "sh", text: "c", says: {}, prints: null },
    ]);
  });

  test("does not overlook a block in a list", () => {
    expect(readPage("- a\n\n  ```sh\n  reboot\n  ```\n").problems).not.toEqual([]);
  });

  test("makes anchors as a repository's web page does, and collects links", () => {
    const { anchors, links } = readPage("# A `b` c?\n\n## A `b` c?\n\n[x](y.md#z) ![p](q.svg)\n");
    expect([...anchors]).toEqual(["a-b-c", "a-b-c-1"]);
    expect(links).toEqual(["y.md#z", "q.svg"]);
  });

  test("recognizes directives", () => {
    expect(Object.keys(directives)).toContain("not run");
    expect(readPage("<!-- for people -->\n```sh\na\n```\n").blocks[0]?.says).toEqual({});
  });
});

describe("what a block prints", () => {
  test.each([
    ["a b", "a   b\n", true],
    ["a …", "a \n", true],
    ["a … c", "a b c", true],
    ["…\nlast", "1\n2\nlast", true],
    ["a", "a\nb", false],
    ["a.c", "abc", false],
    ["first\n…", "first", true],
    ["a", "b", false],
  ])("%j fits %j: %p", (said, printed, fits) => {
    expect(printsAsSaid(printed, said)).toBe(fits);
  });

  test("names of the pages become the lab's, and nothing else does", () => {
    expect(toLab("echo 0000:3b:01.5 >drivers/iavf/bind # a device, iced")).toBe(
      "echo 0000:41:11.2 >drivers/igbvf/bind # a device, iced",
    );
    expect(toLab("0000:3b:01.0-01.3  VF 0-3 of ens1f0")).toBe("0000:41:10.0-10.6  VF 0-3 of ens1f0");
  });
});
