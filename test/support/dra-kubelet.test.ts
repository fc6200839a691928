import type { sendUnaryData, Server, ServerWritableStream } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { DRAPluginService, type NodePrepareResourcesResponse } from "../../src/kubelet/api/dra.ts";
import { DRAResourceHealthService, type NodeWatchResourcesResponse } from "../../src/kubelet/api/drahealth.ts";
import { RegistrationService, type RegistrationStatus } from "../../src/kubelet/api/pluginregistration.ts";
import { failureOf } from "./dra-driver.ts";
import { DraKubelet } from "./dra-kubelet.ts";
import { serveOn } from "./kubelet-sockets.ts";
import { removeTemporaryFolder, temporaryFolder } from "./plugin.ts";
import { until } from "./until.ts";

const driver = "x.io";
const aClaim = (uid: string) => ({ namespace: "default", name: `claim-${uid}`, uid });

let root = "";
let kubelet: DraKubelet;
let servers: Server[] = [];
let statuses: RegistrationStatus[] = [];
let streams: ServerWritableStream<object, NodeWatchResourcesResponse>[] = [];
let answers: NodePrepareResourcesResponse["claims"] = {};
beforeEach(() => {
  root = temporaryFolder();
  kubelet = new DraKubelet(root);
  kubelet.start();
  [servers, statuses, streams, answers] = [[], [], [], {}];
});
afterEach(() => {
  kubelet.stop();
  for (const server of servers) server.forceShutdown();
  removeTemporaryFolder(root);
});

/** A driver of the fewest lines that says of itself what it is given. */
async function listen(name: string, info: object = {}): Promise<string> {
  const path = `${kubelet.registry}/${name}`;
  const server = await serveOn(path, DRAPluginService, {
    nodePrepareResources: (_: unknown, done: sendUnaryData<object>) => done(null, { claims: answers }),
    nodeUnprepareResources: (_: unknown, done: sendUnaryData<object>) => done(null, { claims: {} }),
  });
  const supportedVersions = ["v1.DRAPlugin", "v1.DRAResourceHealth"];
  server.addService(RegistrationService as never, {
    getInfo: (_: unknown, done: sendUnaryData<object>) =>
      done(null, { type: "DRAPlugin", name: driver, endpoint: "", supportedVersions, ...info }),
    notifyRegistrationStatus: (call: { request: RegistrationStatus }, done: sendUnaryData<object>) => {
      statuses.push(call.request);
      done(null, {});
    },
  });
  server.addService(DRAResourceHealthService as never, {
    nodeWatchResources: (stream: ServerWritableStream<object, NodeWatchResourcesResponse>) => void streams.push(stream),
  });
  servers.push(server);
  return path;
}

test("a driver is registered at its socket, and no longer when that is removed", async () => {
  const path = await listen("a-reg.sock");
  await kubelet.waitForPlugins(driver);
  expect(kubelet.endpoints(driver)).toEqual([path]);
  await until("it is notified", () => statuses.some(({ pluginRegistered }) => pluginRegistered));
  rmSync(path);
  await kubelet.waitForPlugins(driver, 0);
  expect(await failureOf(kubelet.unprepare(driver, aClaim("a")))).toBe("DRA driver x.io is not registered");
});

test.each([
  ["of another type", { type: "DevicePlugin" }, "no handler registered"],
  ["without a version of today", { supportedVersions: ["v1beta1.DRAPlugin"] }, "is supported"],
])("a driver %s is refused", async (_, info, reason) => {
  await listen("a-reg.sock", info);
  await until("it is refused", () => statuses.some(({ pluginRegistered, error }) => !pluginRegistered && error !== ""));
  expect(statuses.at(-1)?.error).toContain(reason);
  expect(kubelet.endpoints(driver)).toEqual([]);
});

test("an endpoint that is registered is no other socket's", async () => {
  const endpoint = await listen("a-reg.sock");
  await kubelet.waitForPlugins(driver);
  await listen("b-reg.sock", { endpoint });
  await until("it is refused", () => statuses.some(({ error }) => error.includes("already registered")));
});

test("a call that leaves a claim out, answers another one, or fails is an error", async () => {
  await listen("a-reg.sock");
  await kubelet.waitForPlugins(driver);
  const good = { devices: [], error: "" };
  answers = { a: good };
  expect(await failureOf(kubelet.prepare(driver, aClaim("a")))).toBe("");
  expect(await failureOf(kubelet.prepare(driver, aClaim("a"), aClaim("b")))).toContain("skipped 1 ResourceClaims");
  expect(await failureOf(kubelet.prepare(driver, aClaim("b")))).toContain("unknown claim UID a");
  expect(await failureOf(kubelet.unprepare(driver, aClaim("a")))).toContain("skipped 1 ResourceClaims");
  answers = { a: { devices: [], error: "no such device" } };
  expect(await failureOf(kubelet.prepare(driver, aClaim("a")))).toContain("claim-a: no such device");
});

test("health is what was reported last, and unknown after its timeout or the end of the stream", async () => {
  await listen("a-reg.sock");
  await until("there is a stream", () => streams.length > 0);
  const report = (timeout: number) =>
    streams.at(-1)?.write({
      devices: [
        {
          device: { poolName: "p", deviceName: "d" },
          health: 2,
          lastUpdatedTime: 0,
          healthCheckTimeoutSeconds: timeout,
          message: "down",
        },
      ],
    });
  report(1);
  await until("it is known", () => kubelet.healthOf("p", "d")[0] === "Unhealthy");
  expect(kubelet.healthOf("p", "d")).toEqual(["Unhealthy", "down"]);
  await until("it is outdated", () => kubelet.healthOf("p", "d")[0] === "Unknown");
  report(0);
  await until("it is known again", () => kubelet.healthOf("p", "d")[0] === "Unhealthy");
  const before = streams.length;
  streams.at(-1)?.end();
  await until("it is unknown", () => kubelet.healthOf("p", "d")[0] === "Unknown");
  await until("the stream is opened again", () => streams.length > before);
});
