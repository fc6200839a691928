import { describe, expect, test } from "bun:test";
import Ajv from "ajv";
import * as fc from "fast-check";
import definitions from "../../test/cdi-schema/defs.json";
import schema from "../../test/cdi-schema/schema.json";
import { aPool, aResult, aVf, claimOf, driver, factsOf, ids, pools, uid } from "../../test/support/claims.ts";
import { aSubFunction, someFacts } from "../../test/support/device.ts";
import {
  type AllocationResult,
  claimedDevices,
  isPreparedAs,
  type PreparedClaim,
  prepareClaim,
  readClaimSpec,
} from "./claim.ts";

const claimRecord = (text: string, driver: string) => readClaimSpec(text, driver)?.record ?? null;

const prepare = (...results: readonly AllocationResult[]): PreparedClaim => {
  const claim = claimOf(...results);
  return prepareClaim(claim, claimedDevices(claim, driver, pools), ({ id }) => factsOf(id), driver);
};

/** What a container has that names these requests of the claim; none: it names the claim alone. As the kubelet and a runtime do it. */
function containerOf({ devices, spec }: PreparedClaim, ...requests: readonly string[]) {
  const isWhole = requests.length === 0;
  const names = (isWhole ? [null] : requests).flatMap((request) =>
    devices
      .filter(({ requestNames }) => request === null || requestNames.includes(request))
      .flatMap(({ cdiDeviceIds }) => cdiDeviceIds),
  );
  const env: Record<string, string> = {};
  const nodes = new Set<string>();
  for (const name of names) {
    const device = spec.devices.find((each) => `${spec.kind}=${each.name}` === name);
    if (!device) throw new Error(`unresolvable CDI device ${name}`);
    for (const variable of device.containerEdits.env ?? []) {
      const at = variable.indexOf("=");
      env[variable.slice(0, at)] = variable.slice(at + 1);
    }
    for (const { path } of device.containerEdits.deviceNodes ?? []) nodes.add(path);
  }
  return { env, nodes: [...nodes] };
}

/** The ids in a container's variables, after checking that INFO is of the same devices. */
function idsIn(container: ReturnType<typeof containerOf>): Record<string, string> {
  const variables = Object.entries(container.env).filter(([name]) => !name.endsWith("_INFO"));
  for (const [name, value] of variables)
    expect(Object.keys(JSON.parse(container.env[`${name}_INFO`] ?? "null") as object)).toEqual(
      value.split(",").toSorted(),
    );
  return Object.fromEntries(variables);
}

describe("a container", () => {
  test("of an unchanged pod has the variables and nodes that the device plugin gives", () => {
    const prepared = prepare(
      aResult("container-0-request-0", ids(4)),
      aResult("container-0-request-0", ids(5)),
      aResult("container-1-request-0", ids(1)),
    );
    const first = containerOf(prepared, "container-0-request-0");
    expect(idsIn(first)).toEqual({ PCIDEVICE_INTEL_COM_DPDK: ids(4, 5) });
    expect(first.nodes).toEqual(["/dev/vfio/vfio", "/dev/vfio/4", "/dev/vfio/5"]);
    expect(JSON.parse(first.env["PCIDEVICE_INTEL_COM_DPDK_INFO"] ?? "")).toMatchObject({
      [ids(4)]: { generic: { deviceID: ids(4) }, vfio: { "dev-mount": "/dev/vfio/4" } },
    });
    expect(idsIn(containerOf(prepared, "container-1-request-0"))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(1) });
  });

  test("that names one request of several has only the devices of that", () => {
    const prepared = prepare(aResult("left", ids(0)), aResult("right", ids(2)), aResult("right", ids(1)));
    expect(idsIn(containerOf(prepared, "left"))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(0) });
    expect(idsIn(containerOf(prepared, "right"))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(2, 1) });
  });

  test("that names no request has all devices in one variable a resource", () => {
    const prepared = prepare(aResult("left", ids(0)), aResult("dpdk", ids(5)), aResult("right", ids(1)));
    const whole = containerOf(prepared);
    expect(idsIn(whole)).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(0, 1), PCIDEVICE_INTEL_COM_DPDK: ids(5) });
    expect(whole.nodes).toEqual(["/dev/vfio/vfio", "/dev/vfio/5"]);
  });

  test("that names no request of a claim with one has all of that", () => {
    const prepared = prepare(aResult("nics", ids(0)), aResult("nics", ids(1)));
    expect(idsIn(containerOf(prepared))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(0, 1) });
    expect(prepared.devices).toHaveLength(2);
  });

  test("has both resources of one request, each in its own variable", () => {
    const prepared = prepare(aResult("any", ids(0)), aResult("any", ids(4)), aResult("any", ids(2)));
    expect(idsIn(containerOf(prepared, "any"))).toEqual({
      PCIDEVICE_INTEL_COM_NET: ids(0, 2),
      PCIDEVICE_INTEL_COM_DPDK: ids(4),
    });
  });

  test("has the alternative that was chosen under the name of its request", () => {
    const prepared = prepare(aResult("nic/fast", ids(4)));
    expect(prepared.devices[0]?.requestNames).toEqual(["nic"]);
    expect(idsIn(containerOf(prepared, "nic"))).toEqual({ PCIDEVICE_INTEL_COM_DPDK: ids(4) });
  });

  // Known and documented: of one variable the last edit wins, and 2^n joins would be needed.
  test("that names two requests of three of one resource has the variable of the last one", () => {
    const prepared = prepare(aResult("a", ids(0)), aResult("b", ids(1)), aResult("c", ids(2)));
    expect(idsIn(containerOf(prepared, "a", "b"))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(1) });
  });
});

describe("the answer to the kubelet", () => {
  test("has each device under its request, pool and name", () => {
    const { devices } = prepare(aResult("a", ids(0), { shareId: uid }), aResult("b", ids(1), { pool: "node-a/other" }));
    expect(devices).toMatchObject([
      { requestNames: ["a"], poolName: "node-a/0000-3b-00.0", deviceName: "0000-3b-02-0", shareId: uid },
      { requestNames: ["b"], poolName: "node-a/other", deviceName: "0000-3b-02-1", shareId: null },
      { requestNames: ["/"], poolName: "node-a/other", deviceName: "0000-3b-02-1", shareId: null },
    ]);
  });

  test("begins with an id that is the device's alone, with nodes or without", () => {
    const { devices } = prepare(aResult("a", ids(0)), aResult("a", ids(1)), aResult("b", ids(4)), aResult("b", ids(5)));
    const first = devices.map(({ cdiDeviceIds }) => cdiDeviceIds[0]);
    expect(first).toEqual([
      `${driver}/claim=${uid}.a.0000-3b-02-0`,
      `${driver}/claim=${uid}.a.0000-3b-02-1`,
      `${driver}/claim=${uid}.b.0000-3b-02-4`,
      `${driver}/claim=${uid}.b.0000-3b-02-5`,
      `${driver}/claim=${uid}`,
    ]);
  });

  test("is the same for the same claim", () => {
    const results = [aResult("a", ids(0)), aResult("b", ids(4))];
    expect(JSON.stringify(prepare(...results))).toBe(JSON.stringify(prepare(...results)));
  });

  test("has other CDI devices for another claim: runtimes remember names", () => {
    const claim = { ...claimOf(aResult("a", ids(0))), uid: crypto.randomUUID() };
    const other = prepareClaim(claim, claimedDevices(claim, driver, pools), ({ id }) => factsOf(id), driver);
    const names = [other, prepare(aResult("a", ids(0)))].flatMap(({ spec }) => spec.devices.map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("a device of a claim", () => {
  test("in no pool is refused by its name: it is gone, excluded or not selected", () => {
    const claim = claimOf(aResult("a", ids(0)), aResult("a", "0000:3b:02.7"));
    expect(() => claimedDevices(claim, driver, pools)).toThrow('device "0000-3b-02-7" is in no pool of this node');
  });

  test("of another driver is ignored", () => {
    const claim = claimOf(aResult("gpu", "gpu-0", { driver: "gpu.example.com" }), aResult("nic", ids(0)));
    expect(claimedDevices(claim, driver, pools).map(({ id }) => id)).toEqual([ids(0)]);
    expect(claimedDevices(claim, "third.example.com", pools)).toEqual([]);
  });

  test("has a device-info file under the name that multus reads", () => {
    const { files } = prepare(aResult("a", ids(0)), aResult("b", ids(4)));
    expect(files).toEqual([
      {
        name: "intel.com-net-0000:3b:02.0-device.json",
        content: '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.0"}}',
      },
      {
        name: "intel.com-dpdk-0000:3b:02.4-device.json",
        content: '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.4"}}',
      },
    ]);
  });

  test("with adminAccess is handed out, but neither recorded nor given a file, which belong to the claim that uses it", () => {
    const prepared = prepare(aResult("watch", ids(0), { adminAccess: true }), aResult("use", ids(1)));
    expect(idsIn(containerOf(prepared, "watch"))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(0) });
    expect(claimRecord(JSON.stringify(prepared.spec), driver)?.devices).toEqual([
      { resource: "intel.com/net", id: ids(1) },
    ]);
    expect(prepared.files.map(({ name }) => name)).toEqual(["intel.com-net-0000:3b:02.1-device.json"]);
  });

  test("in two requests, once with adminAccess, is described for each", () => {
    const prepared = prepare(aResult("watch", ids(0), { adminAccess: true }), aResult("use", ids(0)));
    expect(isValid(prepared.spec)).toBe(true);
    expect(idsIn(containerOf(prepared))).toEqual({ PCIDEVICE_INTEL_COM_NET: ids(0) });
    expect(claimRecord(JSON.stringify(prepared.spec), driver)?.devices).toEqual([
      { resource: "intel.com/net", id: ids(0) },
    ]);
  });

  test("may be an SF", () => {
    const sf = aPool("nvidia.com/sf", [aSubFunction()], { deviceType: "auxNetDevice" });
    const claim = claimOf(aResult("sf", "mlx5_core.sf.4"));
    const prepared = prepareClaim(claim, claimedDevices(claim, driver, [sf]), () => someFacts(), driver);
    expect(idsIn(containerOf(prepared, "sf"))).toEqual({ PCIDEVICE_NVIDIA_COM_SF: "mlx5_core.sf.4" });
    expect(prepared.files).toEqual([]);
  });
});

// Not strict: the schema has a keyword of no draft ("ref" in env).
const isCdi = new Ajv({ strict: false, schemas: [{ ...definitions, $id: "defs.json" }] }).compile(schema);

/** Whether the CDI library takes a spec: its schema, names and devices (pkg/cdi/spec.go validate, pkg/parser ValidateDeviceName). */
function isValid(spec: PreparedClaim["spec"]): boolean {
  const names = spec.devices.map(({ name }) => name);
  const areNames = names.every((name) => /^[A-Za-z0-9](?:[-A-Za-z0-9_.:]*[A-Za-z0-9])?$/.test(name));
  const areEdits = spec.devices.every(
    ({ containerEdits: { env = [], deviceNodes = [] } }) => env.length + deviceNodes.length > 0,
  );
  return (
    isCdi(JSON.parse(JSON.stringify(spec))) === true && areNames && areEdits && new Set(names).size === names.length
  );
}

describe("the CDI spec of a claim", () => {
  test("is valid and complete, whatever requests are called", () => {
    const requests = fc.oneof(
      fc.constantFrom("all", "request", uid, "claim", "0000-3b-02-0", "container-0-request-0", "nic/fast", "a"),
      fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/),
    );
    const device = fc.constantFrom(...pools.flatMap(({ claims }) => [...claims.keys()]));
    // A device is at most once in a request; beyond that only with adminAccess.
    const results = fc.uniqueArray(fc.record({ request: requests, device, adminAccess: fc.boolean() }), {
      selector: ({ request, device }) => `${request.split("/")[0] ?? ""} ${device}`,
      minLength: 1,
      maxLength: 32,
    });
    fc.assert(
      fc.property(results, (all) => {
        const prepared = prepare(
          ...all.map(({ request, device, adminAccess }) => aResult(request, device, { adminAccess })),
        );
        expect(isValid(prepared.spec)).toBe(true);
        const idsOf = (of: typeof all) => [...new Set(of.map((each) => each.device))].toSorted();
        const handedOut = (...names: readonly string[]) =>
          Object.values(idsIn(containerOf(prepared, ...names)))
            .join(",")
            .split(",")
            .toSorted();
        expect(handedOut()).toEqual(idsOf(all));
        for (const [name, of] of Map.groupBy(all, ({ request }) => request.split("/")[0] ?? ""))
          expect(handedOut(name)).toEqual(idsOf(of));
      }),
      { seed: 20_261_128, numRuns: 100 },
    );
  });

  test("differs from one that the library would refuse", () => {
    const { spec } = prepare(aResult("a", ids(0)));
    const [first] = spec.devices;
    if (!first) throw new Error("no device");
    expect(isValid(spec)).toBe(true);
    expect(isValid({ ...spec, devices: [first, first] })).toBe(false);
    expect(isValid({ ...spec, devices: [{ ...first, containerEdits: {} }] })).toBe(false);
    expect(isValid({ ...spec, devices: [{ ...first, name: "a/b" }] })).toBe(false);
  });

  test("has the values of additionalInfo, which is why only root may read it", () => {
    const secret = aPool("intel.com/net", [aVf(0)], { additionalInfo: { "*": { token: "secret" } } });
    const claim = claimOf(aResult("a", ids(0)));
    const { spec } = prepareClaim(claim, claimedDevices(claim, driver, [secret]), () => someFacts(), driver);
    expect(JSON.stringify(spec)).toContain("secret");
    expect(JSON.stringify(spec.annotations)).not.toContain("secret");
  });
});

describe("the record of a claim", () => {
  test("lists what was prepared", () => {
    const { spec } = prepare(aResult("a", ids(0)), aResult("b", ids(5)));
    expect(claimRecord(JSON.stringify(spec), driver)).toEqual({
      uid,
      namespace: "default",
      name: "pod-nics",
      pods: ["pod"],
      podUids: ["uid-of-pod"],
      devices: [
        { resource: "intel.com/net", id: ids(0) },
        { resource: "intel.com/dpdk", id: ids(5) },
      ],
    });
  });

  test("is null for any other text, and for a truncated one", () => {
    const text = JSON.stringify(prepare(aResult("a", ids(0))).spec);
    for (let length = 0; length < text.length; length++) expect(claimRecord(text.slice(0, length), driver)).toBeNull();
    const record = (value: unknown, kind = `${driver}/claim`) =>
      JSON.stringify({ kind, annotations: { [`${driver}/prepared`]: value }, devices: [] });
    for (const other of [
      "null",
      "[]",
      "{}",
      record(5),
      record("{}"),
      record('{"uid":"a","namespace":"b","name":"c","devices":[{"resource":"d"}]}'),
      record('{"uid":"a","namespace":"b","name":"c","devices":[]}', "other.example.com/claim"),
    ])
      expect(claimRecord(other, driver)).toBeNull();
    expect(claimRecord(record('{"uid":"a","namespace":"b","name":"c","devices":[]}'), driver)).not.toBeNull();
  });

  test("of another driver is null", () => {
    expect(claimRecord(JSON.stringify(prepare(aResult("a", ids(0))).spec), "other.example.com")).toBeNull();
  });

  test("is that of the claim as long as it is allocated the same, whatever the node has by now", () => {
    const results = [aResult("a", ids(0)), aResult("b", ids(5)), aResult("watch", ids(1), { adminAccess: true })];
    const content = readClaimSpec(JSON.stringify(prepare(...results).spec), driver);
    if (!content) throw new Error("it can't be read");
    const isPrepared = (...now: typeof results) => isPreparedAs(content, claimOf(...now), driver);
    const [a, b, watch] = results as [(typeof results)[0], (typeof results)[0], (typeof results)[0]];
    expect(isPrepared(a, b, watch, aResult("gpu", "gpu-0", { driver: "gpu.example.com" }))).toBe(true);
    expect(isPrepared(a, watch)).toBe(false);
    expect(isPrepared(a, b, aResult("watch", ids(2), { adminAccess: true }))).toBe(false);
    expect(isPrepared(a, aResult("b", ids(4)), watch)).toBe(false);
    expect(isPrepared(a, aResult("c", ids(5)), watch)).toBe(false);
    expect(isPrepared({ ...a, adminAccess: true }, b, watch)).toBe(false);
    expect(isPreparedAs(content, { ...claimOf(...results), uid: crypto.randomUUID() }, driver)).toBe(false);
  });
});
