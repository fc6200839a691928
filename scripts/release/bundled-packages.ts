// What is in the executable besides our own code? Packages, by what the bundler really took in; and Bun with what it links, as its
// license file names for the pinned version. Inputs of the SBOM and of the notices.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import lock from "../../package-lock.json" with { type: "json" };

const root = join(import.meta.dir, "../..");

/** A package of npm's whose code is in the executable. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** As its package.json says: an SPDX expression. */
  readonly license: string;
  /** Its license and notice files, by name. */
  readonly texts: ReadonlyMap<string, string>;
  /** The hash of npm's archive, as package-lock.json has it: "sha512-" and base64. */
  readonly integrity: string;
  /** Names of the packages that it requires. */
  readonly dependencies: readonly string[];
  /** Where its sources and its pages are, as URLs; null where its package.json does not say, or says no URL. */
  readonly repository: string | null;
  readonly homepage: string | null;
}

/** The packages of which code went into the executable, by name. Throws for one without a license or without its text. */
export async function bundledPackages(): Promise<Package[]> {
  const { metafile } = await Bun.build({
    entrypoints: [join(root, "src/main.ts")],
    target: "bun",
    minify: true,
    metafile: true,
  });
  const folders = new Set(
    Object.keys(metafile?.inputs ?? {}).flatMap(
      (path) => /(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
    ),
  );
  if (folders.size === 0) throw new Error("the bundler names no package: is its metafile another one now?");
  return [...folders].map(readPackage).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly license?: unknown;
  readonly homepage?: string;
  readonly repository?: string | { readonly url?: string };
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Reads the package in a folder of the checkout, "node_modules/NAME" or deeper: package-lock.json calls it the same. */
function readPackage(place: string): Package {
  const folder = join(root, place);
  const file = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as PackageFile;
  const { name, version, license, repository, homepage, dependencies = {} } = file;
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice|copyright)/i.test(file));
  if (typeof license !== "string") throw new Error(`${folder}/package.json names no license`);
  const { integrity } = (lock.packages as Readonly<Record<string, { integrity?: string }>>)[place] ?? {};
  if (integrity === undefined) throw new Error(`package-lock.json has no hash of ${name}: run npm install`);
  const texts = new Map(files.toSorted().map((file) => [file, readFileSync(join(folder, file), "utf8").trimEnd()]));
  const source = typeof repository === "string" ? repository : repository?.url;
  return {
    name,
    version,
    license,
    texts,
    integrity,
    dependencies: Object.keys(dependencies),
    repository: urlOf(source ?? null),
    homepage: urlOf(homepage ?? null),
  };
}

/**
 * A repository or homepage of a package.json as a URL: npm's short forms ("github:owner/name", "owner/name") and scp's form of git
 * ("git@host:owner/name.git") written out; null for any other text (npm help package.json, repository).
 */
export function urlOf(text: string | null): string | null {
  if (text === null) return null;
  const [, host, path] = /^(github:|gitlab:|bitbucket:)?([\w.-]+\/[\w.-]+)$/.exec(text) ?? [];
  const hosts: Readonly<Record<string, string>> = { "gitlab:": "gitlab.com", "bitbucket:": "bitbucket.org" };
  if (path !== undefined) return `https://${hosts[host ?? ""] ?? "github.com"}/${path}`;
  const [, user, server, rest] = /^([\w.-]+@)([\w.-]+):(?!\/\/)(.+)$/.exec(text) ?? [];
  const url = user === undefined ? text.replace(/^git\+/, "") : `ssh://${user}${server}/${rest}`;
  return URL.canParse(url) ? url : null;
}

/** A part that is linked into Bun. */
export interface LinkedPart {
  readonly name: string;
  /** SPDX expression. */
  readonly license: string;
  /** Its version or commit, as the running Bun reports it (process.versions); null where it does not. */
  readonly version: string | null;
}

const linked = (name: string, license: string, versionKey?: string): LinkedPart => ({
  name,
  license,
  version: (versionKey === undefined ? undefined : process.versions[versionKey]) ?? null,
});

/** Bun's own version: that which runs this, and which becomes the executable. */
export const bunVersion = Bun.version;

/** What Bun links statically on Linux (its LICENSE.md at this version), and what of other projects its code is made from. */
export const linkedParts: readonly LinkedPart[] = [
  linked("JavaScriptCore and WebCore (WebKit)", "LGPL-2.0-or-later", "webkit"),
  linked("tinycc", "LGPL-2.1-only", "tinycc"),
  linked("boringssl", "Apache-2.0 AND ISC AND OpenSSL", "boringssl"),
  linked("brotli", "MIT"),
  linked("libarchive", "BSD-2-Clause", "libarchive"),
  linked("lol-html", "BSD-3-Clause", "lolhtml"),
  linked("ls-hpack", "MIT", "lshpack"),
  linked("ls-qpack", "MIT"),
  linked("lsquic", "MIT AND BSD-3-Clause"),
  linked("mimalloc", "MIT", "mimalloc"),
  linked("picohttpparser", "MIT", "picohttpparser"),
  linked("zstd", "BSD-3-Clause", "zstd"),
  linked("simdutf", "Apache-2.0"),
  linked("uSockets", "Apache-2.0", "usockets"),
  linked("uWebSockets", "Apache-2.0", "uwebsockets"),
  linked("zlib-ng", "Zlib", "zlib"),
  linked("c-ares", "MIT", "ares"),
  linked("ICU", "Unicode-3.0", "icu"),
  linked("base64 (aklomp)", "BSD-2-Clause"),
  linked("libdeflate", "MIT", "libdeflate"),
  linked("libjpeg-turbo", "IJG AND BSD-3-Clause AND Zlib"),
  linked("libspng", "BSD-2-Clause"),
  linked("libwebp", "BSD-3-Clause"),
  linked("highway", "Apache-2.0"),
  linked("uucode", "MIT"),
  linked("llhttp", "MIT", "llhttp"),
  linked("SQLite", "blessing", "sqlite"),
  linked("TigerBeetle (parts of its input and output)", "Apache-2.0"),
  linked("libc++abi (__cxa_thread_atexit)", "Apache-2.0 WITH LLVM-exception"),
  linked("esbuild (of which Bun's parser is a port)", "MIT"),
  linked("Node.js (parts of its library) and the browserify packages for it", "MIT"),
];

/** The single licenses in an SPDX expression: "IJG AND Zlib" has two; an exception only permits more. */
export const licensesIn = (expression: string): string[] =>
  expression
    .replaceAll(/ WITH [\w.-]+/g, "")
    .split(/ (?:AND|OR) |[()]/)
    .filter(Boolean);

/** The text of a license by its SPDX id. */
export function licenseText(id: string): string {
  const path = join(root, "node_modules/spdx-license-list/licenses", `${id}.json`);
  if (!existsSync(path)) throw new Error(`the SPDX list has no text of ${id}`);
  return (JSON.parse(readFileSync(path, "utf8")) as { licenseText: string }).licenseText.trimEnd();
}

/**
 * The licenses of all that is handed out, as one SPDX expression: the plugin's, glibc's, Bun's with all that it links, and those of the packages; sorted,
 * alternatives in brackets.
 */
export function licenseExpression(packages: readonly Package[]): string {
  const expressions = ["Apache-2.0", "LGPL-2.1-or-later", "MIT"].concat(
    linkedParts.map(({ license }) => license),
    packages.map(({ license }) => license),
  );
  const terms = expressions.flatMap((expression) => {
    const bare = expression.replace(/^\(([^()]*)\)$/, "$1");
    return bare.includes(" OR ") ? [`(${bare})`] : bare.split(" AND ");
  });
  return [...new Set(terms)].toSorted().join(" AND ");
}
