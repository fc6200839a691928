import { describe, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { aReference, DraDriver, driver } from "../../test/support/dra-driver.ts";
import { DraKubelet } from "../../test/support/dra-kubelet.ts";
import { channelOptions, credentials, WatcherClient } from "../../test/support/grpc.ts";
import { listenAt } from "../../test/support/listen-at.ts";
import { until } from "../../test/support/until.ts";
import { kubeletPaths } from "./kubelet-paths.ts";

const [podA, podB] = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"] as const;

const dra = new DraDriver();

describe("registration", () => {
  test("and service are on one socket, which only dra.root can open and nobody sees before it listens", async () => {
    const server = await dra.register();
    expect(server.endpoint).toBe(`${dra.registry}/${driver}-reg.sock`);
    expect(readdirSync(`${dra.registry}`)).toEqual([`${driver}-reg.sock`]);
    expect(lstatSync(server.endpoint).mode & 0o777).toBe(0o600);
    expect(dra.kubelet.endpoints(driver)).toEqual([server.endpoint]);
    expect(dra.kubelet.count("registration failed")).toBe(0);
    await dra.kubelet.prepare(driver, aReference("a"));
    expect(server.registration).toMatchObject({ state: "connected", reason: null, registrations: 1, failures: 0 });
    expect(dra.logged).toEqual([`info registered the DRA driver with the kubelet {"driver":"${driver}"}`]);
  });

  test("waits for the kubelet's folder, without a word above debug", async () => {
    const server = dra.newServer();
    server.start();
    await until("it waits", () => server.registration.reason !== null);
    expect(server.registration).toMatchObject({ state: "waiting", reason: `${dra.registry} is missing` });
    dra.kubelet.start();
    server.check();
    await dra.kubelet.waitForPlugins(driver);
    expect(dra.notable.filter((line) => line.startsWith("warn"))).toEqual([]);
  });

  test("is done again when the kubelet restarts, by the socket that is there", async () => {
    const server = await dra.register();
    const { ino } = lstatSync(server.endpoint);
    dra.kubelet.stop();
    dra.kubelet.start();
    await dra.kubelet.waitForPlugins(driver);
    await until("it is registered twice", () => server.registration.registrations === 2);
    expect(lstatSync(server.endpoint).ino).toBe(ino);
    await dra.kubelet.prepare(driver, aReference("a"));
  });

  test("counts as lost when the kubelet stays away, whoever else requested its info, and its socket appears anew", async () => {
    const server = await dra.register();
    const other = new WatcherClient(`unix:${server.endpoint}`, credentials.createInsecure(), channelOptions);
    await new Promise<void>((resolve) => other.getInfo({}, () => resolve()));
    dra.kubelet.stop();
    await until("it is announced", () => server.registration.state === "announced");
    other.close();
    expect(dra.logged.join("\n")).toContain("kubelet disconnected from the DRA driver");
    dra.kubelet.start();
    await until("it is connected", () => server.registration.state === "connected");
  }, 20_000);

  test.each([
    ["removed", (path: string) => rmSync(path)],
    [
      "replaced by a file",
      (path: string) => {
        rmSync(path);
        writeFileSync(path, "");
      },
    ],
    [
      "removed with its folder",
      (path: string) => {
        rmSync(dirname(path), { recursive: true });
        dra.kubelet.stop();
        dra.kubelet.start();
      },
    ],
  ])("is done again after its socket was %s", async (_, harm) => {
    const server = await dra.register();
    harm(server.endpoint);
    server.check();
    await until("it is registered again", () => server.registration.registrations >= 2);
    await dra.prepareInTheEnd();
    expect(dra.kubelet.endpoints(driver)).toEqual([server.endpoint]);
  });

  test("that the kubelet refuses is reported once, and is done when the kubelet takes it", async () => {
    dra.kubelet.refusal = "DRA is off";
    dra.kubelet.start();
    const server = dra.newServer();
    server.start();
    await until("it was refused three times", () => server.registration.failures >= 3);
    expect(server.registration).toMatchObject({ state: "rejected", reason: "DRA is off", registrations: 0 });
    expect(dra.notable).toEqual([
      `warn kubelet rejected the DRA driver; it will retry {"driver":"${driver}","reason":"DRA is off"}`,
    ]);
    dra.kubelet.refusal = null;
    await until("it is connected", () => server.registration.state === "connected");
  });

  test("that can't be is retried: something is in the socket's place", async () => {
    mkdirSync(`${dra.registry}/${driver}-reg.sock`, { recursive: true });
    const server = dra.newServer();
    server.start();
    await until("it failed", () => server.registration.state === "failed");
    expect(server.registration.reason).toContain("remove what is at that path");
    rmSync(server.endpoint, { recursive: true });
    dra.kubelet.start();
    server.check();
    await until("it is connected", () => server.registration.state === "connected");
  });

  test("removes sockets of instances that were killed, and no others", async () => {
    dra.kubelet.start();
    const names = [`${driver}-${podA}-reg.sock`, `${driver}-reg.sock`, "other.example.com-reg.sock"];
    for (const name of names) {
      const listener = await listenAt(`${dra.root}/dead`);
      renameSync(`${dra.root}/dead`, `${dra.registry}/${name}`);
      await new Promise((resolve) => listener.close(resolve));
    }
    const server = dra.newServer({ instance: podB });
    server.start();
    await dra.kubelet.waitForPlugins(driver);
    expect(readdirSync(`${dra.registry}`).toSorted()).toEqual([
      "other.example.com-reg.sock",
      `${driver}-${podB}-reg.sock`,
    ]);
  });

  test("of a driver with a long name has a shorter socket", async () => {
    const long = "sriovnetwork.k8snetworkplumbingwg.io";
    const deep = `${dra.root}/${"d".repeat(107 - dra.root.length - 1 - "/plugins_registry/".length - 60)}`;
    mkdirSync(deep);
    dra.kubelet = new DraKubelet(deep);
    dra.kubelet.start();
    const server = dra.newServer({ driver: long, instance: podA, paths: kubeletPaths(deep) });
    server.start();
    await dra.kubelet.waitForPlugins(long);
    expect(server.endpoint.length).toBeLessThanOrEqual(107);
    expect(() => dra.newServer({ paths: kubeletPaths(`/${"d".repeat(90)}`) })).toThrow("is too long");
  });
});

describe("two instances during an update", () => {
  test("are both registered, the later one is called, and the end of either leaves the other", async () => {
    const old = await dra.register({ instance: podA });
    const young = dra.newServer({ instance: podB, unprepare: () => {} });
    young.start();
    await dra.kubelet.waitForPlugins(driver, 2);
    await dra.kubelet.unprepare(driver, aReference("a"));
    expect(dra.unprepared).toEqual([]);
    await young.close();
    await dra.kubelet.waitForPlugins(driver, 1);
    await dra.kubelet.unprepare(driver, aReference("a"));
    expect(dra.unprepared).toMatchObject([aReference("a")]);
    expect(old.registration).toMatchObject({ state: "connected", registrations: 1 });
  });

  test("of one name take turns: the later one has the socket, until it ends", async () => {
    const old = await dra.register();
    const young = dra.newServer();
    young.start();
    await until("the later one is connected", () => young.registration.state === "connected");
    old.check();
    await until("the earlier one is on standby", () => old.registration.state === "standby");
    await young.close();
    old.check();
    await until("the earlier one is connected", () => old.registration.state === "connected");
    await dra.prepareInTheEnd();
    expect(dra.kubelet.endpoints(driver)).toEqual([old.endpoint]);
  });

  test("the end of the last one leaves no socket, and ends its registration", async () => {
    const server = await dra.register();
    await server.close();
    await dra.kubelet.waitForPlugins(driver, 0);
    expect(readdirSync(`${dra.registry}`)).toEqual([]);
  });
});
