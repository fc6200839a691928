// Does the executable print DeviceClasses that Kubernetes takes, from what operators have: files, standard input, manifests?

import { expect, setDefaultTimeout, test } from "bun:test";
import type { DeviceClass } from "../../src/dra/device-classes.ts";
import { objectsOf } from "../support/kubernetes.ts";
import { executable, runCommand } from "../support/plugin.ts";
import { classProblems } from "../support/resource-api.ts";

// Waiting ends with the condition; this is for a machine that is busy.
setDefaultTimeout(30_000);

const deployments = `${import.meta.dir}/../../deployments`;

test.each([
  ["components/sample-config/configmap.yaml", 2],
  ["examples/config.yaml", 6],
  ["examples/node-config.yaml", 2],
])("the classes of %s are what the API server takes, as YAML and as JSON", (file, count) => {
  const yaml = runCommand(["device-classes", `${deployments}/${file}`]);
  expect({ status: yaml.status, stderr: yaml.stderr }).toEqual({ status: 0, stderr: "" });
  const objects = objectsOf(yaml.stdout);
  expect(objects.length).toBe(count);
  for (const object of objects as readonly unknown[]) expect(classProblems(object as DeviceClass)).toEqual([]);
  const json = runCommand(["device-classes", "-o", "json", `${deployments}/${file}`]);
  expect(JSON.parse(json.stdout)).toEqual({ apiVersion: "v1", kind: "List", items: objects });
});

test("a config is read from standard input", () => {
  const { exitCode, stdout } = Bun.spawnSync([executable, "device-classes", "--dra-driver-name=example.com", "-"], {
    stdin: Buffer.from('{"resourceList": [{"resourceName": "a", "selectors": [{"drivers": ["iavf"]}]}]}'),
  });
  expect(exitCode).toBe(0);
  expect(stdout.toString()).toContain('device.driver == "example.com" && ');
});

test.each([
  [["--dra-driver-name=Example.com"], "--dra-driver-name=Example.com: expected a lowercase DNS name that begins"],
  [["--output=wide"], "--output=wide: expected yaml or json"],
  [["/nowhere.json"], "/nowhere.json: error: no such file"],
])("device-classes %j is a mistake: %s", (args, message) => {
  const { stdout, stderr, status } = runCommand(["device-classes", ...args]);
  expect(stderr).toContain(message);
  expect({ stdout, status }).toEqual({ stdout: "", status: 2 });
});
