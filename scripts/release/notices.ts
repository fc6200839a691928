// Whose work is in what is distributed, and on which terms? The file THIRD-PARTY-NOTICES.

import { bunVersion, licensesIn, licenseText, linkedParts, type Package } from "./bundled-packages.ts";

const rule = "=".repeat(100);
const section = (title: string, ...paragraphs: readonly string[]) =>
  `${rule}\n${title}\n${rule}\n\n${paragraphs.join("\n\n")}`;

/** The notices, for an executable with these packages. `glibc` is the version of the image's C library. */
export function thirdPartyNotices(packages: readonly Package[], glibc: string): string {
  const ids = [...new Set(["MIT", ...linkedParts.flatMap(({ license }) => licensesIn(license))])].toSorted();
  const rows = linkedParts.map(
    ({ name, license, version }) => `  ${name}${version === null ? "" : ` ${version}`}: ${license}`,
  );
  return `${[
    "Third-party notices of sriovdp",
    `sriovdp itself is licensed under the Apache License 2.0 (LICENSE). Its executable is made of its own code, of the npm packages
below, and of Bun ${bunVersion} with the libraries that Bun links. The container image adds libraries of glibc.`,
    section(
      "What the LGPL requires",
      `Bun contains JavaScriptCore and WebCore (LGPL 2 or later) and tinycc (LGPL 2.1), statically linked and not changed by us. You may
modify these libraries and relink:`,
      `- Bun's source is published by the project oven-sh/bun, tag bun-v${bunVersion}; its WebKit by oven-sh/WebKit, commit
  ${linkedParts[0]?.version ?? "named in Bun's source"}, and its tinycc by oven-sh/tinycc.
  Bun's CONTRIBUTING and LICENSE documents say how a Bun with a changed library is built ("bun run build:local").
- sriovdp's own part is source code: the tag v… or the commit that "sriovdp version" prints, of sriovdp's repository. With a Bun of
  your own, "bun scripts/build/executable.ts --executable-path YOUR-BUN" makes the executable of it.
- Nothing in sriovdp's license forbids to modify, or to reverse engineer in order to debug such modifications.`,
      `glibc ${glibc} (LGPL 2.1 or later) is in the container image as files of its own, which you may replace; it is Debian's, unchanged,
and its source is Debian's source package of that version. Its copyright file is in the image: usr/share/doc/libc6/copyright.`,
    ),
    section(
      `Bun ${bunVersion}, and what it links`,
      `  Bun: MIT, by Oven and Bun's contributors\n${rows.join("\n")}`,
      "The texts of these licenses are at the end.",
    ),
    ...packages.map(({ name, version, license, texts }) =>
      section(
        `${name} ${version} (${license})`,
        ...(texts.size > 0 ? texts.values() : licensesIn(license).map(licenseText)),
      ),
    ),
    ...ids.map((id) => section(`License text: ${id}`, licenseText(id))),
  ].join("\n\n")}\n`;
}
