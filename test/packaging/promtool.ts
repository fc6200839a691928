// Where is Prometheus' own checker? On PATH, or in Debian's package of Prometheus, of which nothing else is taken.

import { $ } from "bun";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";

const cache = `${process.env["XDG_CACHE_HOME"] ?? `${homedir()}/.cache`}/sriovdp-tools`;

/** The path of promtool, fetched once and kept; or what is missing for that, as a phrase. */
export async function findPromtool(): Promise<{ path: string; missing: null } | { path: null; missing: string }> {
  const found = Bun.which("promtool") ?? (existsSync(`${cache}/promtool`) ? `${cache}/promtool` : null);
  if (found !== null) return { path: found, missing: null };
  for (const program of ["apt-get", "dpkg-deb"]) {
    if (Bun.which(program) === null)
      return { path: null, missing: `there is no promtool, and no ${program} to get it` };
  }
  const folder = mkdtempSync(`${tmpdir()}/promtool-`);
  try {
    const download = () => $`apt-get -q download prometheus`.cwd(folder).quiet().nothrow();
    let fetched = await download();
    if (fetched.exitCode !== 0) {
      await $`apt-get -q update`.quiet().nothrow();
      fetched = await download();
    }
    if (fetched.exitCode !== 0) return { path: null, missing: "there is no promtool, and apt-get can't get it" };
    await $`dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool`.cwd(folder).quiet();
    mkdirSync(cache, { recursive: true });
    await $`mv ${folder}/usr/bin/promtool ${cache}/.promtool.${process.pid}`.quiet();
    renameSync(`${cache}/.promtool.${process.pid}`, `${cache}/promtool`);
    return { path: `${cache}/promtool`, missing: null };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
