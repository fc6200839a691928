import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { aClaimReference, aResourceClaim, ClaimNode, forever } from "../../../test/support/claim-node.ts";
import { aResult, aVf, driver, ids } from "../../../test/support/claims.ts";
import { failureOf } from "../../../test/support/dra-driver.ts";
import { until } from "../../../test/support/until.ts";
import type { ClaimReference, PreparedClaimDevice } from "../../allocation/claim.ts";
import type { PreparedClaims } from "./claim-calls.ts";

const host = new ClaimNode();

const prepare = (claims: PreparedClaims, reference: ClaimReference): Promise<PreparedClaimDevice[]> =>
  claims.prepare(reference, forever());

const infoFile = (index: number, resource = "intel.com-net") => `${resource}-${aVf(index).id}-device.json`;

/** What the spec of a claim gives to a container: the variables of all its CDI devices, and their nodes. */
function specOf(reference: ClaimReference) {
  const { devices } = JSON.parse(readFileSync(host.specOf(reference), "utf8")) as {
    devices: { containerEdits: { env?: string[]; deviceNodes?: { path: string }[] } }[];
  };
  return {
    env: devices.flatMap(({ containerEdits }) => containerEdits.env ?? []),
    nodes: devices.flatMap(({ containerEdits }) => containerEdits.deviceNodes ?? []).map(({ path }) => path),
  };
}

describe("preparing a claim", () => {
  test("writes its spec for root alone and the files for multus, and answers with its devices", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("nics", ids(0)), aResult("nics", ids(4)));
    const devices = await prepare(claims, pod);
    expect(devices.map(({ deviceName, cdiDeviceIds }) => [deviceName, cdiDeviceIds[0]])).toEqual([
      ["0000-3b-02-0", `${driver}/claim=${pod.uid}.nics.0000-3b-02-0`],
      ["0000-3b-02-4", `${driver}/claim=${pod.uid}.nics.0000-3b-02-4`],
    ]);
    expect(statSync(host.specOf(pod)).mode & 0o777).toBe(0o600);
    const { env, nodes } = specOf(pod);
    expect(env).toContain(`PCIDEVICE_INTEL_COM_NET=${ids(0)}`);
    expect(nodes).toEqual(["/dev/vfio/vfio", "/dev/vfio/4"]);
    expect(host.filesIn(host.deviceInfo)).toEqual([infoFile(4, "intel.com-dpdk"), infoFile(0)]);
    expect(claims.records().map(({ uid }) => uid)).toEqual([pod.uid]);
    expect(host.changes).toBe(1);
    expect(host.logged).toEqual([
      `info prepared a claim {"claim":"default/pod","uid":"${pod.uid}","devices":["${ids(0)}","${ids(4)}"]}`,
    ]);
  });

  test("logs no value of additionalInfo, whatever happens", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("nics", ids(4)));
    await prepare(claims, pod);
    rmSync(host.specOf(pod));
    claims.restore();
    claims.unprepare(pod);
    const [ended, ...others] = [...new Bun.Glob("*").scanSync({ cwd: host.cdi, dot: true })];
    expect(others).toEqual([]);
    expect(readFileSync(`${host.cdi}/${ended}`, "utf8")).not.toContain("secret");
    expect(host.logged.join("\n")).not.toContain("secret");
  });

  test("takes the alternative that was chosen, a share ID, and devices of this driver alone", async () => {
    const gpu = aResult("gpu", "gpu-0", { driver: "gpu.example.com", pool: "node-a/gpus" });
    const pod = host.allocate(aClaimReference("pod"), gpu, aResult("nic/fast", ids(1), { shareId: "share-1" }));
    expect(await prepare(host.start(), pod)).toMatchObject([
      { requestNames: ["nic"], deviceName: "0000-3b-02-1", shareId: "share-1" },
    ]);
  });

  test.each([
    ["does not exist", "claim default/pod does not exist", () => host.cluster.clear()],
    [
      "was replaced by another one",
      "claim default/pod was replaced by another one of its name",
      () => host.allocate(aClaimReference("pod"), aResult("nics", ids(0))),
    ],
    [
      "is not allocated",
      "claim default/pod is not allocated",
      (pod: ClaimReference) => host.cluster.set("default/pod", aResourceClaim(pod, null)),
    ],
    [
      "has only devices of others",
      `the claim has no device of driver ${driver}`,
      (pod: ClaimReference) => host.allocate(pod, aResult("gpu", "gpu-0", { driver: "gpu.example.com" })),
    ],
    [
      "is allocated on another node",
      'device "0000-3b-02-0" of pool "node-b/0000-3b-00.0" is not on node node-a',
      (pod: ClaimReference) => host.allocate(pod, aResult("nics", ids(0), { pool: "node-b/0000-3b-00.0" })),
    ],
    [
      "has a device that no pool selects",
      'device "0000-3b-02-7" is in no pool of this node',
      (pod: ClaimReference) => host.allocate(pod, aResult("nics", ids(7))),
    ],
    [
      "has a device that has just left",
      `device ${ids(0)} of intel.com/net can't be read`,
      () => rmSync(`${host.root}/sys/bus/pci/devices/${ids(0)}`, { recursive: true }),
    ],
    [
      "has a device of a device-plugin pod",
      `device ${ids(0)} is held by pod default/old`,
      () => host.held.set(ids(0), "default/old"),
    ],
    [
      "can't be read",
      "GET: no answer in time",
      () => (host.reading = () => Promise.reject(new Error("GET: no answer in time"))),
    ],
    [
      "can't be described to multus",
      "multus could not attach the device",
      () => {
        mkdirSync(`${host.root}/var/run/k8s.cni.cncf.io`, { recursive: true });
        writeFileSync(`${host.root}/var/run/k8s.cni.cncf.io/devinfo`, "");
      },
    ],
    [
      "can't be described to the runtime",
      "EISDIR",
      (pod: ClaimReference) => mkdirSync(host.specOf(pod), { recursive: true }),
    ],
  ])("that %s is refused with the reason, once as a warning, and leaves nothing", async (_, reason, prepareCase) => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("nics", ids(0)));
    prepareCase(pod);
    for (let round = 0; round < 2; round++) expect(await failureOf(prepare(claims, pod))).toContain(reason);
    expect(host.filesIn(host.deviceInfo)).toEqual([]);
    expect(claims.records()).toEqual([]);
    expect(host.logged.map((line) => line.split(" ", 1)[0])).toEqual(["warn", "debug"]);
    expect(host.changes).toBe(0);
  });

  test.each(["", "../../../etc/passwd", "a.b", "__proto__", "a".repeat(500)])(
    "with the UID %p is refused, and no file is touched",
    async (uid) => {
      const claims = host.start();
      const hostile = host.allocate({ namespace: "default", name: "pod", uid }, aResult("nics", ids(0)));
      expect(await failureOf(prepare(claims, hostile))).toContain("is not the UID of a claim");
      expect(() => claims.unprepare(hostile)).toThrow("is not the UID of a claim");
      expect([host.filesIn(host.cdi), host.filesIn(host.deviceInfo)]).toEqual([[], []]);
    },
  );

  test("of a device whose link is down hands it out: its taint keeps others from it", async () => {
    const [net, ...others] = host.pools;
    if (!net) throw new Error("no pool");
    host.pools = [{ ...net, unhealthy: new Map([[ids(0), "the link of its PF ens1f0 is down"]]) }, ...others];
    const pod = host.allocate(aClaimReference("pod"), aResult("nics", ids(0)));
    expect(await prepare(host.start(), pod)).toHaveLength(1);
  });
});

describe("a claim that is prepared", () => {
  test("is answered the same again, also after a restart, while its device is hidden in the pod", async () => {
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)), aResult("b", ids(4)));
    const before = await prepare(host.start(), pod);
    const text = readFileSync(host.specOf(pod), "utf8");
    const { ino } = statSync(host.specOf(pod));
    rmSync(`${host.root}/sys`, { recursive: true });
    host.pools = [];
    const claims = host.start();
    expect(await prepare(claims, pod)).toEqual(before);
    expect(await prepare(claims, pod)).toEqual(before);
    expect([readFileSync(host.specOf(pod), "utf8"), statSync(host.specOf(pod)).ino]).toEqual([text, ino]);
    expect(host.changes).toBe(1);
  });

  test("is unprepared by whichever process, twice, and without its claim or its devices", async () => {
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)), aResult("b", ids(4)));
    await prepare(host.start(), pod);
    host.cluster.clear();
    host.pools = [];
    const claims = host.start();
    claims.unprepare(pod);
    claims.unprepare(pod);
    expect([host.filesIn(host.cdi), host.filesIn(host.deviceInfo), claims.records()]).toEqual([[], [], []]);
    expect(host.changes).toBe(2);
    expect(host.logged.filter((line) => line.includes("unprepared"))).toHaveLength(1);
  });

  test("can be prepared again after it was unprepared", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    await prepare(claims, pod);
    claims.unprepare(pod);
    await prepare(claims, pod);
    expect(existsSync(host.specOf(pod))).toBe(true);
    expect(host.filesIn(host.deviceInfo)).toEqual([infoFile(0)]);
  });

  test("and whose spec was truncated while nothing ran is prepared anew", async () => {
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    const before = await prepare(host.start(), pod);
    const text = readFileSync(host.specOf(pod), "utf8");
    writeFileSync(host.specOf(pod), text.slice(0, 100));
    const claims = host.start();
    expect(host.logged.at(-1)).toContain("warn removed claim specs that cannot be read");
    expect(await prepare(claims, pod)).toEqual(before);
    expect(readFileSync(host.specOf(pod), "utf8")).toBe(text);
  });

  test("and was allocated other devices since is prepared with those alone", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)), aResult("a", ids(1)));
    await prepare(claims, pod);
    host.allocate(pod, aResult("a", ids(1)), aResult("a", ids(2)));
    await prepare(claims, pod);
    expect(host.filesIn(host.deviceInfo)).toEqual([infoFile(1), infoFile(2)]);
    expect(claims.records().map(({ devices }) => devices.map(({ id }) => id).join())).toEqual([ids(1, 2)]);
  });

  test.each([
    ["removed it", (path: string) => rmSync(path)],
    ["damaged it", (path: string) => writeFileSync(path, "{}")],
    ["removed its folder", () => rmSync(host.cdi, { recursive: true })],
  ])("has its spec again after somebody %s", async (_, harm) => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    await prepare(claims, pod);
    const text = readFileSync(host.specOf(pod), "utf8");
    harm(host.specOf(pod));
    await until("it is there", () => existsSync(host.specOf(pod)) && readFileSync(host.specOf(pod), "utf8") === text);
    await until("it is logged", () => host.logged.at(-1)?.startsWith("warn restored claim specs") === true);
  });

  test("keeps being tried where its spec can't be restored", async () => {
    const claims = host.start();
    const pod = host.allocate(aClaimReference("pod"), aResult("a", ids(0)));
    await prepare(claims, pod);
    rmSync(host.specOf(pod));
    mkdirSync(host.specOf(pod));
    // The folder's events may come one by one: what follows the first is at debug level.
    await until("it is a warning", () =>
      host.logged.some((line) => line.startsWith("warn cannot restore claim specs")),
    );
    claims.restore();
    expect(host.logged.at(-1)).toStartWith("debug cannot restore claim specs");
    rmSync(host.specOf(pod), { recursive: true });
    await until("it is there", () => existsSync(host.specOf(pod)));
  });
});
