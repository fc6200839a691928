import { expect, test } from "bun:test";
import * as paths from "./node-paths.ts";

test("every path of a recorded tree is below its root, and on the node itself absolute", () => {
  const of = (root: string) => [
    paths.sysfs(root),
    paths.busFolder(root, "pci"),
    paths.busDevices(root, "auxiliary"),
    paths.busDevice(root, "vdpa", "vdpa0"),
    paths.classPath(root, "net/eth0"),
    paths.uptimePath(root),
    ...paths.cgroupMounts(root),
    paths.cdiFolder(root),
    paths.staticCdiFolder(root),
    paths.deviceInfoFolder(root),
    paths.statusSocketPath(root),
    paths.logFolder(root, "sriovdp"),
  ];
  expect(of("/tree").every((path) => path.startsWith("/tree/"))).toBe(true);
  expect(of("/tree").map((path) => path.slice("/tree".length))).toEqual(of(""));
  expect(of("").every((path) => /^\/[a-z]/.test(path) && !path.endsWith("/"))).toBe(true);
});
