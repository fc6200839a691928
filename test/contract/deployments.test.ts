// Does the unit say what the executable takes? The manifests have a file of their own, manifests.test.ts.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { settings } from "../../scripts/environment.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";

const read = (name: string) => readFileSync(`${import.meta.dir}/../../deployments/${name}`, "utf8");

test("the systemd unit starts the executable with arguments that it takes, and reloads it by SIGHUP", () => {
  const unit = read("sriovdp.service");
  const [, ...args] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  expect(args).not.toEqual([]);
  expect(parseCommandLine(args).problems).toEqual([]);
  expect(unit).toContain("ExecReload=/bin/kill -HUP $MAINPID");
});

test("the unit sets the environment that the image sets", () => {
  expect(read("sriovdp.service").match(/^Environment=.*/gm)).toEqual([`Environment=${settings.join(" ")}`]);
});
