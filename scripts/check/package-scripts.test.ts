import { expect, test } from "bun:test";
import manifest from "../../package.json" with { type: "json" };

const root = `${import.meta.dir}/../..`;

/** What npm runs by itself before another script: these are not called by hand, so they have no help. */
const ofNpm = Object.keys(manifest.scripts).filter(
  (name) => /^pre[a-z]/.test(name) && name.slice(3) in manifest.scripts,
);

test.each(Object.entries(manifest.scripts).filter(([name]) => !ofNpm.includes(name)))(
  "npm run %s -- --help prints how it is called",
  (_, line) => {
    // npm appends the arguments to the whole line, so the last command gets them; the ones before it would build.
    const command = `${line.split(" && ").at(-1)} --help`;
    const { exitCode, stdout } = Bun.spawnSync(["sh", "-c", command], {
      cwd: root,
      env: { ...process.env, PATH: `${root}/node_modules/.bin:${process.env["PATH"] ?? ""}` },
      stderr: "inherit",
    });
    expect(stdout.toString().toLowerCase()).toContain("usage: ");
    expect(exitCode).toBe(0);
  },
);

test("installing and the demo run no script that changes the clone's git config", () => {
  const atInstall = ["preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"];
  expect(Object.keys(manifest.scripts).filter((name) => atInstall.includes(name))).toEqual([]);
  expect(manifest.scripts.predemo + manifest.scripts.demo).not.toContain("hooks");
});
