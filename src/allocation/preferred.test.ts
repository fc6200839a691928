import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { aClaim, aDevice, aParent, aPf, aSpec, aSubFunction, pciAddress } from "../../test/support/device.ts";
import type { Device } from "../host/device.ts";
import { type Pool, preferences } from "../pools/pool.ts";
import { preferredDevices, type PreferredRequest, refusePreferred } from "./preferred.ts";

const resource = "intel.com/sriov_net_A";

const poolOf = (devices: readonly Device[]): Pool => ({
  spec: aSpec(),
  claims: new Map(devices.map((device) => [device.id, aClaim(device)])),
  unhealthy: new Map(),
});

/** Where a PF is. */
interface Place {
  readonly numaNode: number | null;
  readonly pcieRoot: string | null;
}

/** So many VFs, "a0" to "a6", of PF "a". */
const vfs = (pf: string, count: number, place: Partial<Place> = {}): Device[] =>
  Array.from({ length: count }, (_, index) => {
    const above = aParent({ address: pciAddress(pf), interfaceName: pf, link: null });
    return aDevice({ id: `${pf}${index}`, pf: above, functionIndex: index, ...place });
  });

const requestFor = (
  available: readonly string[],
  size: number,
  mustInclude: readonly string[] = [],
): PreferredRequest => ({
  available,
  mustInclude,
  size,
});

const idsOf = (devices: readonly Device[]) => devices.map(({ id }) => id);

/** What is preferred when all of these devices are available but those named. */
const preferredOf = (
  preference: "packed" | "spread",
  devices: readonly Device[],
  size: number,
  { without = [], mustInclude = [] }: { without?: readonly string[]; mustInclude?: readonly string[] } = {},
) => {
  const available = idsOf(devices).filter((id) => !without.includes(id));
  return preferredDevices(poolOf(devices), preference, requestFor(available, size, mustInclude)).join(" ");
};

describe("packed", () => {
  const twoPfs = [...vfs("a", 4), ...vfs("b", 4)];

  test("takes from the PF with the fewest free functions", () => {
    expect(preferredOf("packed", twoPfs, 1, { without: ["b0", "b2"] })).toBe("b1");
  });

  test("takes from the first of PFs with equally many", () => {
    expect(preferredOf("packed", twoPfs, 1)).toBe("a0");
  });

  test("fills a PF before it begins with the next one", () => {
    expect(preferredOf("packed", twoPfs, 3, { without: ["b0", "b2"] })).toBe("b1 b3 a0");
  });

  test("goes on at the PF of what must be included, where PFs are equally full", () => {
    expect(preferredOf("packed", twoPfs, 2, { without: ["a0"], mustInclude: ["b3"] })).toBe("b3 b0");
  });
});

describe("spread", () => {
  const twoPfs = [...vfs("a", 4), ...vfs("b", 4)];

  test("takes from the PF with the most free functions", () => {
    expect(preferredOf("spread", twoPfs, 1, { without: ["a0", "a2"] })).toBe("b0");
  });

  test("takes in turns from PFs with equally many", () => {
    expect(preferredOf("spread", twoPfs, 4)).toBe("a0 b0 a1 b1");
  });

  test("takes from the PF that gave none of what must be included, where PFs are equally full", () => {
    expect(preferredOf("spread", twoPfs, 2, { without: ["b0"], mustInclude: ["a3"] })).toBe("a3 b1");
  });
});

describe.each(preferences)("%s", (preference) => {
  const fewer = preference === "packed";

  test("keeps to one NUMA node, where one has enough", () => {
    const devices = [...vfs("a", 2, { numaNode: 0 }), ...vfs("b", 2, { numaNode: 1 }), ...vfs("c", 3, { numaNode: 1 })];
    expect(preferredOf(preference, devices, 4)).toBe(fewer ? "b0 b1 c0 c1" : "c0 b0 c1 b1");
  });

  test("keeps to one PCIe root of the NUMA node, where one has enough", () => {
    const devices = [
      ...vfs("a", 2, { pcieRoot: "pci0000:10" }),
      ...vfs("b", 2, { pcieRoot: "pci0000:20" }),
      ...vfs("c", 2, { pcieRoot: "pci0000:20" }),
    ];
    expect(preferredOf(preference, devices, 3)).toBe(fewer ? "b0 b1 c0" : "b0 c0 b1");
  });

  test("keeps to a NUMA node on which one PCIe root has enough, where there is one", () => {
    const devices = [
      ...vfs("a", 1, { numaNode: 0, pcieRoot: "pci0000:10" }),
      ...vfs("b", 5, { numaNode: 0, pcieRoot: "pci0000:20" }),
      ...vfs("c", 6, { numaNode: 1, pcieRoot: "pci0000:80" }),
    ];
    expect(preferredOf(preference, devices, 6)).toBe("c0 c1 c2 c3 c4 c5");
  });

  test("takes the most from one NUMA node, where none has enough", () => {
    const devices = [...vfs("a", 1, { numaNode: 0 }), ...vfs("b", 3, { numaNode: 1 })];
    expect(preferredOf(preference, devices, 4)).toBe("b0 b1 b2 a0");
  });

  test("goes on at the NUMA node and the PCIe root of what must be included", () => {
    const devices = [
      ...vfs("a", 3, { numaNode: 0, pcieRoot: "pci0000:10" }),
      ...vfs("b", 3, { numaNode: 1, pcieRoot: "pci0000:80" }),
      ...vfs("c", 3, { numaNode: 1, pcieRoot: "pci0000:90" }),
    ];
    expect(preferredOf(preference, devices, 3, { mustInclude: ["c2"] })).toBe("c2 c0 c1");
  });

  test("treats a device without a PF as a group of its own", () => {
    const card = (id: string, pcieRoot: string) => aPf({ id, pcieRoot });
    const devices = [card("x", "pci0000:10"), card("y", "pci0000:20"), card("z", "pci0000:20")];
    expect(preferredOf(preference, devices, 1)).toBe(fewer ? "x" : "y");
    expect(preferredOf(preference, devices, 2)).toBe("y z");
  });

  test("identifies sub-functions by their PF", () => {
    const sf = (id: string, pf: string) => aSubFunction({ id, pf: aParent({ address: pciAddress(pf), link: null }) });
    const devices = [sf("mlx5_core.sf.2", "a"), sf("mlx5_core.sf.3", "a"), sf("mlx5_core.sf.4", "b")];
    expect(preferredOf(preference, devices, 1)).toBe(fewer ? "mlx5_core.sf.4" : "mlx5_core.sf.2");
  });

  test("passes over a device that left the pool meanwhile, but not when it must be included", () => {
    const pool = poolOf(vfs("a", 2));
    expect(preferredDevices(pool, preference, requestFor(["gone", "a0", "a1"], 3))).toEqual(["a0", "a1"]);
    expect(preferredDevices(pool, preference, requestFor(["gone", "a0", "a1"], 2, ["gone"]))).toEqual(["gone", "a0"]);
  });

  test("prefers nothing for a container that requests nothing", () => {
    expect(preferredOf(preference, vfs("a", 2), 0)).toBe("");
  });
});

test.each<[string, PreferredRequest, string | null]>([
  ["a negative size", requestFor(["a"], -1), "-1 devices can't be given"],
  ["more than is available", requestFor(["a", "a", "b"], 3), "3 devices requested, 2 available"],
  [
    "more that must be included than requested",
    requestFor(["a", "b"], 1, ["a", "b"]),
    "2 devices must be included in 1",
  ],
  [
    "what must be included and is not available",
    requestFor(["a"], 1, ["b"]),
    '"b" must be included and is not available',
  ],
  ["a long id", requestFor(["a"], 1, ["b".repeat(9999)]), `"${"b".repeat(80)}…" must be included`],
  ["as many as are available", requestFor(["a", "b"], 2, ["b"]), null],
  ["unknown devices", requestFor(["x", "y"], 1), null],
  ["nothing", requestFor([], 0), null],
])("a request for %s is distinguished from a valid one", (_, request, reason) => {
  const refusal = refusePreferred(resource, request);
  if (reason === null) expect(refusal).toBeNull();
  else {
    expect(refusal).toStartWith(`GetPreferredAllocation of ${resource}: `);
    expect(refusal).toContain(reason);
  }
});

describe("whatever is free, and whatever is requested,", () => {
  const place = fc.record({
    numaNode: fc.constantFrom(null, 0, 1),
    pcieRoot: fc.constantFrom(null, "pci0000:10", "pci0000:20"),
  });
  /** Some PFs with VFs, and some devices without a PF, in any order. */
  const nodes = fc
    .tuple(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), place), { maxLength: 5 }),
      fc.array(place, { maxLength: 3 }),
    )
    .chain(([pfs, alone]) => {
      const devices = [
        ...pfs.flatMap(([count, at], index) => vfs(`pf${index}-`, count, at)),
        ...alone.map((at, index) => aPf({ id: `card${index}`, ...at })),
      ];
      return fc.shuffledSubarray(devices, { minLength: devices.length });
    });

  interface Case {
    readonly devices: readonly Device[];
    readonly request: PreferredRequest;
    readonly preference: "packed" | "spread";
  }

  const cases: fc.Arbitrary<Case> = nodes.chain((devices) =>
    fc.shuffledSubarray(idsOf(devices)).chain((available) =>
      fc.shuffledSubarray(available).chain((must) =>
        fc.record({
          devices: fc.constant(devices),
          preference: fc.constantFrom(...preferences),
          request: fc
            .integer({ min: must.length, max: available.length })
            .map((size) => requestFor(available, size, must)),
        }),
      ),
    ),
  );

  const chosenIn = ({ devices, preference, request }: Case) => preferredDevices(poolOf(devices), preference, request);

  const holds = (property: (each: Case, chosen: readonly string[]) => void) =>
    fc.assert(
      fc.property(cases, (each) => property(each, chosenIn(each))),
      { seed: 20_261_124, numRuns: 500 },
    );

  test("as many are returned as requested, each once, all of them available, with all that must be included", () =>
    holds(({ request }, chosen) => {
      expect(refusePreferred(resource, request)).toBeNull();
      expect(chosen).toHaveLength(request.size);
      expect(new Set(chosen).size).toBe(request.size);
      expect(request.available).toEqual(expect.arrayContaining([...chosen]));
      expect(chosen).toEqual(expect.arrayContaining([...request.mustInclude]));
    }));

  test("the order in which the kubelet lists devices does not count, nor does a repetition", () =>
    holds((each, chosen) => {
      const { available, mustInclude, size } = each.request;
      const turned = requestFor([...available, ...available].toReversed(), size, mustInclude.toReversed());
      expect(chosenIn({ ...each, request: turned })).toEqual([...chosen]);
    }));

  test.each(["numaNode", "pcieRoot"] as const)("they share one %s, where one has enough", (level) =>
    holds(({ devices, request }, chosen) => {
      const placeOf = new Map(
        devices.map((each) => [each.id, level === "numaNode" ? each.numaNode : `${each.numaNode} ${each.pcieRoot}`]),
      );
      const isEnough = [...new Set(placeOf.values())].some((place) => {
        const there = request.available.filter((id) => placeOf.get(id) === place);
        return there.length >= request.size && request.mustInclude.every((id) => there.includes(id));
      });
      if (isEnough) expect(new Set(chosen.map((id) => placeOf.get(id))).size).toBeLessThanOrEqual(1);
    }),
  );

  const pfOf = (devices: readonly Device[]) => new Map(devices.map((each) => [each.id, each.pf?.address ?? each.id]));

  /** How many devices of each PF are free before and after the choice. */
  function freeByPf({ devices, request }: Case, chosen: readonly string[]) {
    const pfs = pfOf(devices);
    const free = request.available.filter((id) => !request.mustInclude.includes(id));
    return [...Map.groupBy(free, (id) => pfs.get(id)).values()].map((ids) => ({
      before: ids.length,
      taken: ids.filter((id) => chosen.includes(id)).length,
    }));
  }

  test("a single device is of the PF with the fewest free ones, or the most", () =>
    holds(({ devices, preference, request: { available } }) => {
      if (available.length === 0) return;
      const each = { devices, preference, request: requestFor(available, 1) };
      const pfs = freeByPf(each, chosenIn(each));
      const sizes = pfs.map(({ before }) => before);
      const [from] = pfs.filter(({ taken }) => taken > 0);
      expect(from?.before).toBe(preference === "packed" ? Math.min(...sizes) : Math.max(...sizes));
    }));

  test("below one PCIe root packed leaves at most one PF partly taken, and spread takes them down evenly", () =>
    holds((each) => {
      const devices = each.devices.map((device): Device => ({ ...device, numaNode: 0, pcieRoot: "pci0000:10" }));
      const pfs = freeByPf({ ...each, devices }, chosenIn({ ...each, devices }));
      if (each.preference === "packed") {
        expect(pfs.filter(({ before, taken }) => taken > 0 && taken < before).length).toBeLessThanOrEqual(1);
        return;
      }
      const most = Math.max(0, ...pfs.map(({ before, taken }) => before - taken));
      for (const { before, taken } of pfs) if (taken > 0) expect(before - taken).toBeGreaterThanOrEqual(most - 1);
    }));
});
