import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { aPreparedDevice, aReference, DraDriver, driver, failureOf } from "../../test/support/dra-driver.ts";
import { until } from "../../test/support/until.ts";

const dra = new DraDriver();

describe("a call", () => {
  test("is answered for each claim: devices, or an error of its own", async () => {
    await dra.register({
      prepare: async (claim) => {
        if (claim.name === "bad") throw new Error("device x is in no pool of this node");
        if (claim.name === "silent") throw new Error("");
        return [{ ...aPreparedDevice(claim), shareId: claim.name === "shared" ? "share-1" : null }];
      },
    });
    const claims = ["good", "bad", "silent", "shared"].map((name) => aReference(name));
    const answers = (await dra.kubelet.callPrepare(driver, claims)).claims;
    expect(Object.keys(answers).toSorted()).toEqual(claims.map(({ uid }) => uid).toSorted());
    expect(answers["uid-good"]).toEqual({
      devices: [
        {
          requestNames: ["good"],
          poolName: "node-a/0000-3b-00.0",
          deviceName: "0000-3b-02-1",
          cdiDeviceIds: [`${driver}/claim=uid-good.nics`],
          shareId: undefined,
        },
      ],
      error: "",
    });
    expect(answers["uid-shared"]?.devices[0]?.shareId).toBe("share-1");
    expect(answers["uid-bad"]).toEqual({ devices: [], error: "device x is in no pool of this node" });
    expect(answers["uid-silent"]?.error).not.toBe("");
    expect(await failureOf(dra.kubelet.prepare(driver, aReference("bad")))).toBe(
      "NodePrepareResources failed for ResourceClaim bad: device x is in no pool of this node",
    );
  });

  test("to unprepare is answered for each claim, too", async () => {
    await dra.register({
      unprepare: ({ name }) => {
        if (name === "bad") throw new Error("the file can't be removed");
      },
    });
    await dra.kubelet.unprepare(driver, aReference("a"), aReference("b"));
    expect(await failureOf(dra.kubelet.unprepare(driver, aReference("a"), aReference("bad")))).toContain(
      "the file can't be removed",
    );
  });

  test("without claims is answered without claims", async () => {
    await dra.register();
    expect(await dra.kubelet.prepare(driver)).toEqual({});
    await dra.kubelet.unprepare(driver);
  });

  test("with hostile UIDs is answered for each of them", async () => {
    await dra.register({ prepare: async ({ uid }) => Promise.reject(new Error(`no ${uid.length}`)) });
    const uids = ["__proto__", "constructor", "", "../../etc", "a".repeat(10_000), "\u0000", "ü", "1"];
    // As it is on the wire: the double's own objects can't have all of these keys.
    const { claims } = await dra.kubelet.callPrepare(
      driver,
      uids.map((uid) => aReference("a", uid)),
    );
    expect(Object.keys(claims).length + (Object.hasOwn(claims, "__proto__") ? 0 : 1)).toBe(uids.length);
  });

  test("that names one UID twice is answered once, and by an error where the claims differ", async () => {
    await dra.register();
    expect(
      Object.keys(
        await dra.kubelet.callPrepare(driver, [aReference("a"), aReference("a")]).then(({ claims }) => claims),
      ),
    ).toEqual(["uid-a"]);
    expect(dra.prepared).toHaveLength(1);
    const { claims } = await dra.kubelet.callPrepare(driver, [aReference("a", "u"), aReference("b", "u")]);
    expect(claims["u"]?.error).toBe('UID "u" is that of several claims of the call');
    expect(dra.prepared).toHaveLength(1);
  });

  test("with many claims prepares some at a time, and answers all", async () => {
    let [running, most] = [0, 0];
    await dra.register({
      prepare: async (claim) => {
        most = Math.max(most, ++running);
        await Bun.sleep(1);
        running--;
        return [aPreparedDevice(claim)];
      },
    });
    const claims = Array.from({ length: 100 }, (_, index) => aReference(`c${index}`));
    expect(Object.keys(await dra.kubelet.prepare(driver, ...claims))).toHaveLength(100);
    expect(most).toBe(16);
  });

  test("that takes too long ends in an error for the claims that are not prepared, and stops them", async () => {
    const stopped: string[] = [];
    await dra.register({
      prepareLimit: 100,
      prepare: (claim, signal) => {
        if (claim.name === "quick") return Promise.resolve([aPreparedDevice(claim)]);
        signal.addEventListener("abort", () => stopped.push(claim.name));
        return new Promise(() => {});
      },
    });
    const stuck = Array.from({ length: 20 }, (_, index) => aReference(`s${index}`));
    const { claims } = await dra.kubelet.callPrepare(driver, [aReference("quick"), ...stuck]);
    expect(claims["uid-quick"]?.error).toBe("");
    for (const { uid } of stuck)
      expect(claims[uid]?.error).toBe("the claim could not be prepared within 0.1 s; the kubelet will retry");
    expect(stopped).toHaveLength(15);
  });

  test("that runs when the server is closed ends in an error", async () => {
    const server = await dra.register({ prepare: () => new Promise(() => {}) });
    const call = dra.kubelet.callPrepare(driver, [aReference("a")]).catch((error: Error) => error.message);
    await until("it runs", async () => (await Promise.race([call, "running"])) === "running");
    await server.close();
    expect(JSON.stringify(await call)).toMatch(/exiting|UNAVAILABLE|CANCELLED/);
  });

  test("that is no message is refused, and the next one is answered", async () => {
    const server = await dra.register();
    const socket = connect({ path: server.endpoint });
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await new Promise((resolve) => socket.on("close", resolve));
    await dra.kubelet.prepare(driver, aReference("a"));
  });
});

describe("health", () => {
  const pool = "node-a/0000-3b-00.0";

  test.each([
    ["today's", ["v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"]],
    ["an earlier", ["v1alpha1.DRAResourceHealth"]],
  ])("reaches %s kubelet, at the beginning and when it changes", async (_, services) => {
    dra.kubelet.healthServices = services;
    const server = dra.newServer();
    server.setHealth([
      { pool, device: "a", unhealthy: null },
      { pool, device: "b", unhealthy: "the link of its PF ens1f0 is down" },
    ]);
    dra.kubelet.start();
    server.start();
    await until("b is known", () => dra.kubelet.healthOf(pool, "b")[0] === "Unhealthy");
    expect(dra.kubelet.healthOf(pool, "b")[1]).toBe("the link of its PF ens1f0 is down");
    expect(dra.kubelet.healthOf(pool, "a")).toEqual(["Healthy", ""]);
    expect(dra.kubelet.healthOf(pool, "c")).toEqual(["Unknown", ""]);
    server.setHealth([{ pool, device: "a", unhealthy: "down" }]);
    await until("a is down", () => dra.kubelet.healthOf(pool, "a")[0] === "Unhealthy");
    expect(server.registration.streams).toBe(1);
  });

  test("never becomes unknown while the driver runs, and is known again after the kubelet restarts", async () => {
    const server = await dra.register({ healthTimeout: 1 });
    server.setHealth([{ pool, device: "a", unhealthy: null }]);
    await until("a is known", () => dra.kubelet.healthOf(pool, "a")[0] === "Healthy");
    const { lists } = dra.kubelet;
    await until("there are four more lists", () => {
      expect(dra.kubelet.healthOf(pool, "a")[0]).toBe("Healthy");
      return dra.kubelet.lists >= lists + 4;
    });
    dra.kubelet.stop();
    expect(dra.kubelet.healthOf(pool, "a")[0]).toBe("Unknown");
    dra.kubelet.start();
    await until("a is known again", () => dra.kubelet.healthOf(pool, "a")[0] === "Healthy");
  });
});
