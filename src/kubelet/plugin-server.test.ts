import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { KubeletDouble } from "../../test/support/kubelet.ts";
import { removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { until } from "../../test/support/until.ts";
import type { Device } from "./api/deviceplugin.ts";
import { kubeletPaths, socketFolder } from "./kubelet-paths.ts";
import { PluginServer } from "./plugin-server.ts";
import type { RegistrationState } from "./registration.ts";

const resource = "intel.com/net";
const deviceOf = (ID: string): Device => ({ ID, health: "Healthy", topology: undefined });

let root = "";
let kubelet: KubeletDouble;
let servers: PluginServer[] = [];
let lines: string[] = [];
let isPreferring = false;

describe.each(["watcher", "legacy"] as const)("a pool of a kubelet in mode %s", (mode) => {
  beforeEach(() => {
    root = temporaryFolder();
    [servers, lines, isPreferring] = [[], [], false];
    kubelet = new KubeletDouble(root, mode);
  });
  afterEach(async () => {
    for (const server of servers) await server.close();
    if (kubelet.running) kubelet.stop();
    removeTemporaryFolder(root);
  });

  const paths = () => kubeletPaths(root);
  const socketPath = () => `${socketFolder(paths(), mode)}/intel.com_net.sock`;

  function serve(...ids: string[]): PluginServer {
    const write = (level: string) => (message: string) => lines.push(`${level} ${message}`);
    const server = new PluginServer({
      resource,
      socketName: "intel.com_net.sock",
      paths: paths(),
      mode,
      devices: ids.map(deviceOf),
      allocate: () => ({ containerResponses: [] }),
      isPreferring: () => isPreferring,
      prefer: () => ({ containerResponses: [] }),
      log: { info: write("info"), warn: write("warn"), debug: write("debug") },
    });
    servers.push(server);
    server.start();
    return server;
  }

  const reaches = (server: PluginServer, state: RegistrationState) =>
    until(`the pool is ${state}`, () => server.registration.state === state, {
      found: () => `${JSON.stringify(server.registration)}\n${lines.join("\n")}`,
    });
  const has = (...ids: string[]) =>
    until(`the kubelet has ${ids.join()}`, () => [...kubelet.resource(resource).devices.keys()].join() === ids.join());

  test("is registered, and its newest list is the kubelet's", async () => {
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "connected");
    await has("a");
    expect(server.registration).toMatchObject({ reason: null, registrations: 1, failures: 0, streams: 1 });
    expect(server.inPlace).toBe(true);
    server.setDevices(["a", "b"].map(deviceOf));
    await has("a", "b");
  });

  test("waits for a kubelet whose folders are there, and is registered when it starts", async () => {
    mkdirSync(socketFolder(paths(), mode), { recursive: true });
    mkdirSync(paths().devicePlugins, { recursive: true });
    const server = serve("a");
    await until("the socket is in place", () => server.inPlace);
    expect(["waiting", "announced"]).toContain(server.registration.state);
    await kubelet.start();
    server.check();
    await reaches(server, "connected");
  });

  test("waits for a folder that is missing, by its name", async () => {
    const server = serve("a");
    await until("it waits", () => server.registration.reason !== null);
    expect(server.registration).toMatchObject({
      state: "waiting",
      reason: `${socketFolder(paths(), mode)} is missing`,
    });
  });

  test("is registered again with a kubelet that restarted", async () => {
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "connected");
    await kubelet.restart();
    server.check();
    await until("it is registered again", () => server.registration.registrations > 1);
    await reaches(server, "connected");
    await has("a");
  });

  test("gets a new socket when it was removed", async () => {
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "connected");
    rmSync(socketPath());
    expect(server.inPlace).toBe(false);
    server.check();
    await until("the socket is back", () => server.inPlace);
    await reaches(server, "connected");
  });

  test("that is refused says so, with the kubelet's reason", async () => {
    kubelet.registration = "refuse";
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "rejected");
    expect(server.registration.failures).toBeGreaterThan(0);
    expect(server.registration.reason).not.toBeNull();
    kubelet.registration = "accept";
    await reaches(server, "connected");
    expect(server.registration.reason).toBeNull();
  });

  test("whose socket can't be made says so", async () => {
    await kubelet.start();
    mkdirSync(socketPath());
    writeFileSync(`${socketPath()}/x`, "");
    const server = serve("a");
    await reaches(server, "failed");
    expect(server.registration.reason).toContain("remove what is at that path");
  });

  test("is left to another instance that takes it, and taken back when that one has ended", async () => {
    await kubelet.start();
    const first = serve("a");
    await reaches(first, "connected");
    const second = serve("a");
    await until("the second one has the place", () => second.inPlace);
    first.check();
    await reaches(first, "standby");
    await reaches(second, "connected");
    expect(lines.filter((line) => line.includes("standby"))).toEqual([
      "info another instance serves the pool; on standby",
    ]);
    await second.close();
    first.check();
    await until("the first one has the place again", () => first.inPlace);
    await reaches(first, "connected");
    await has("a");
  });

  test("is registered again when its options change", async () => {
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "connected");
    server.checkOptions();
    expect(server.registration.state).toBe("connected");
    isPreferring = true;
    server.checkOptions();
    await until(
      "the kubelet has the new options",
      () => kubelet.resource(resource).options?.getPreferredAllocationAvailable === true,
    );
    await reaches(server, "connected");
  });

  test("leaves nothing when it is closed, and ends for the kubelet", async () => {
    await kubelet.start();
    const server = serve("a");
    await reaches(server, "connected");
    await server.close();
    expect(existsSync(socketPath())).toBe(false);
    await until("the stream has ended", () => !kubelet.resource(resource).connected);
  });

  test("that is closed before it could begin leaves nothing", async () => {
    await kubelet.start();
    const server = serve("a");
    await server.close();
    expect(existsSync(socketPath())).toBe(false);
    expect(kubelet.count("Register") + kubelet.count("GetInfo")).toBe(0);
  });
});
