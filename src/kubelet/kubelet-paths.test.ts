import { expect, test } from "bun:test";
import { kubeletPaths, socketFolder } from "./kubelet-paths.ts";

test("the kubelet's paths follow from its root directory", () => {
  const paths = kubeletPaths("/var/lib/kubelet");
  expect(socketFolder(paths, "watcher")).toBe("/var/lib/kubelet/plugins_registry");
  expect(socketFolder(paths, "legacy")).toBe("/var/lib/kubelet/device-plugins");
  expect(paths.kubeletSocket).toBe("/var/lib/kubelet/device-plugins/kubelet.sock");
  expect(paths.checkpoint).toBe("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint");
  expect(paths.podResources).toBe("/var/lib/kubelet/pod-resources/kubelet.sock");
});
