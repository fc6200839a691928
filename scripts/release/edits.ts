// What does a new version change in the checkout? One table: a file, and its text in the new version. Pure.

/** What is released. */
export interface Release {
  readonly version: string;
  readonly previous: string;
  /** YYYY-MM-DD */
  readonly date: string;
  /** Digests of the Dockerfile's bases by the name of their argument: DEBIAN → sha256:… */
  readonly digests: Readonly<Record<string, string>>;
}

/** An edit; throws with what the file lacks. */
type Edit = (text: string, release: Release) => string;

const image = "localhost/sriovdp:";

/** Replaces all that is found, and something must be found. */
function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`there is no ${JSON.stringify(from)} in it`);
  return text.replaceAll(from, to);
}

/** Moves the notes of "Unreleased" to the version, and leaves an empty section for what comes next. */
function changelog(text: string, { version, date }: Release): string {
  const heading = "## [Unreleased]\n";
  const [, notes = ""] = new RegExp(`\\n${RegExp.escape(heading)}([^]*?)(?=\\n## \\[|$)`).exec(text) ?? [];
  if (!/^- /m.test(notes)) throw new Error('"Unreleased" says nothing: write what changed for those who run it');
  if (text.includes(`\n## [${version}]`)) throw new Error(`it has a section for ${version} already`);
  return text.replace(heading, `${heading}\n## [${version}] - ${date}\n`);
}

/** "version" of a package file: the first that it has, and in a lock file that of the root package too. */
const packageVersion = (text: string, { version, previous }: Release): string => {
  const line = `"version": ${JSON.stringify(previous)}`;
  const head = text.slice(0, 600);
  return replaced(head, line, `"version": ${JSON.stringify(version)}`) + text.slice(600);
};

/** Puts a digest behind the tag of a base, in place of one that is there. */
function dockerfile(text: string, { digests }: Release): string {
  let edited = text;
  for (const [name, digest] of Object.entries(digests)) {
    const line = new RegExp(`^(ARG ${RegExp.escape(name)}=[^@\\n]+)(?:@\\S+)?$`, "m");
    if (!/^sha256:[0-9a-f]{64}$/.test(digest))
      throw new Error(`a digest is sha256: and 64 hexadecimal digits, not ${digest}`);
    if (!line.test(edited)) throw new Error(`there is no base ${name} in it (ARG ${name}=IMAGE:TAG)`);
    edited = edited.replace(line, `$1@${digest}`);
  }
  return edited;
}

const imageTag: Edit = (text, { version, previous }) => replaced(text, image + previous, image + version);

/** The files that name the version, and the edits that make them name another one. */
export const edits: Readonly<Record<string, Edit>> = {
  "package.json": packageVersion,
  "package-lock.json": packageVersion,
  "CHANGELOG.md": changelog,
  "deployments/base/daemonset.yaml": imageTag,
  "deployments/helm/sriovdp/Chart.yaml": (text, { version, previous }) =>
    replaced(
      replaced(text, `\nversion: ${previous}\n`, `\nversion: ${version}\n`),
      `\nappVersion: ${previous}\n`,
      `\nappVersion: ${version}\n`,
    ),
  "docs/deploy/helm.md": (text, { version, previous }) =>
    replaced(
      replaced(text, `sriovdp-${previous}.tgz`, `sriovdp-${version}.tgz`),
      `--version ${previous}`,
      `--version ${version}`,
    ),
  "docs/deploy/gitops.md": (text, { version, previous }) => replaced(text, `v${previous}`, `v${version}`),
  "docs/deploy/migrating.md": imageTag,
  "docs/deploy/operator.md": (text, { version, previous }) =>
    replaced(text, `/sriovdp:${previous}`, `/sriovdp:${version}`),
  "docs/get-started/drop-in.md": imageTag,
  Dockerfile: dockerfile,
};

/** The texts of all files after the release; throws with the file's name when one is not as it should be. */
export function released(texts: Readonly<Record<string, string>>, release: Release): Record<string, string> {
  if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(release.version))
    throw new Error(`${release.version} is no version: MAJOR.MINOR.PATCH`);
  if (Bun.semver.order(release.version, release.previous) !== 1) {
    throw new Error(`version ${release.version} does not follow ${release.previous}`);
  }
  return Object.fromEntries(
    Object.entries(edits).map(([file, edit]) => {
      try {
        return [file, edit(texts[file] ?? "", release)];
      } catch (cause) {
        throw new Error(`${file}: ${(cause as Error).message}`, { cause });
      }
    }),
  );
}
