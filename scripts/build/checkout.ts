// The version, commit and time of this checkout, with which builds and images are stamped.

import manifest from "../../package.json" with { type: "json" };

const root = `${import.meta.dir}/../..`;

/** Runs git; "" where there is no checkout, or no git. */
function git(...args: string[]): string {
  if (Bun.which("git") === null) return "";
  return Bun.spawnSync(["git", "-C", root, ...args], { stderr: "ignore" })
    .stdout.toString()
    .trim();
}

export const version: string = manifest.version;

/** The version of a build between two releases, a pre-release of the next: 0.1.0 is followed by 0.2.0-dev. */
export const developmentVersion: string = version.replace(
  /^(\d+)\.(\d+)\..*$/,
  (_, major: string, minor: string) => `${major}.${Number(minor) + 1}.0-dev`,
);

/** The commit, 12 digits, with "-dirty" when files differ from it; SRIOVDP_COMMIT where that is set (a build without git), else "unknown". */
export function commit(): string {
  const given = process.env["SRIOVDP_COMMIT"] ?? "";
  if (given !== "") return given;
  const head = git("rev-parse", "--short=12", "HEAD");
  if (head === "") return "unknown";
  return git("status", "--porcelain") === "" ? head : `${head}-dirty`;
}

/** SOURCE_DATE_EPOCH (seconds) where that is set, else the commit's time, else 1970: what is made from one commit bears one time. */
export function sourceDate(): Date {
  const seconds = process.env["SOURCE_DATE_EPOCH"] || git("log", "-1", "--format=%ct") || "0";
  if (!/^\d+$/.test(seconds)) throw new Error(`SOURCE_DATE_EPOCH is a number of seconds, not "${seconds}"`);
  return new Date(Number(seconds) * 1000);
}
