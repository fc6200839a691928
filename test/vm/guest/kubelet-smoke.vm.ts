// boot: disk=node memory=3072 limit=300
// Shows that the node is what the device plugin's scenarios take it for: the genuine kubelet runs pods and answers.
import { beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import {
  allocatableDevices,
  allocatedDevices,
  container,
  execInPod,
  installCni,
  kubeletRoot,
  pod,
  podLog,
  putPod,
  removePod,
  startContainerd,
  startKubelet,
  waitForPhase,
  type Kubelet,
} from "./node.ts";
import { sh } from "./support.ts";

let kubelet: Kubelet;

beforeAll(async () => {
  installCni();
  await startContainerd();
  kubelet = await startKubelet();
});

test("the kubelet takes device plugins and knows of no device yet", async () => {
  expect(await sh("kubelet --version")).toMatch(/^Kubernetes v1\.(3[4-9]|[4-9]\d)/);
  expect(existsSync(`${kubeletRoot}/device-plugins/kubelet.sock`)).toBeTrue();
  expect(await allocatableDevices()).toEqual({});
});

test("a static pod runs, prints and ends", async () => {
  putPod(pod("hello", [container("echo hello from $(hostname)")]));
  await waitForPhase("hello", "Succeeded");
  expect(await podLog("hello")).toBe("hello from lab\n");
  await removePod("hello");
});

test("a pod with a network of its own gets it from the CNI plugin", async () => {
  putPod(pod("own-network", [container("sleep 1000")], { hostNetwork: false }));
  await waitForPhase("own-network", "Running");
  expect(await execInPod("own-network", "ip -o link")).toContain("eth0");
  expect(await allocatedDevices("own-network")).toEqual({ main: {} });
});

test("pods outlive a crash of the kubelet", async () => {
  await kubelet.stop("SIGKILL");
  kubelet = await startKubelet();
  await waitForPhase("own-network", "Running");
  expect(await execInPod("own-network", "ip -o link")).toContain("eth0");
  await removePod("own-network");
});
