// Which selectors of one object can't all match, whatever node it is? Facts of drivers, for warnings.

import type { SelectorName, SelectorObject } from "./selectors.ts";

/** Drivers that hand the whole function to user space: the kernel has no other device of it (Documentation/driver-api/vfio.rst, uio-howto.rst). */
const userspaceDrivers: ReadonlySet<string> = new Set(["vfio-pci", "mlx5_vfio_pci", "uio_pci_generic", "igb_uio"]);

/** Drivers that bind to functions of some vendors alone, by their PCI id tables (MODULE_DEVICE_TABLE). */
const driverVendors: Readonly<Record<string, readonly string[]>> = {
  ice: ["8086"],
  iavf: ["8086"],
  i40e: ["8086"],
  ixgbe: ["8086"],
  ixgbevf: ["8086"],
  igb: ["8086"],
  igbvf: ["8086"],
  mlx4_core: ["15b3"],
  mlx5_core: ["15b3"],
  mlx5_vfio_pci: ["15b3"],
  bnxt_en: ["14e4"],
  cxgb4: ["1425"],
  cxgb4vf: ["1425"],
  enic: ["1137"],
};

/** Selectors that together match nothing, and why; the sentence's end. */
interface Contradiction {
  readonly selectors: readonly [SelectorName, SelectorName];
  /** Why nothing matches; null where something may. */
  readonly why: (selectorObject: SelectorObject) => string | null;
}

const isSome = (values: readonly string[] | undefined): values is readonly string[] =>
  values !== undefined && values.length > 0;

const areUserspace = (drivers: readonly string[] | undefined): boolean =>
  isSome(drivers) && drivers.every((name) => userspaceDrivers.has(name));

const contradictions: readonly Contradiction[] = [
  {
    selectors: ["drivers", "isRdma"],
    why: ({ drivers, isRdma }) =>
      isRdma === true && areUserspace(drivers)
        ? `a function bound to ${drivers?.join(" or ")} has no RDMA device; select the driver of the NIC`
        : null,
  },
  {
    selectors: ["drivers", "vdpaType"],
    why: ({ drivers, vdpaType }) =>
      (vdpaType ?? "") !== "" && areUserspace(drivers)
        ? `a function bound to ${drivers?.join(" or ")} manages no vDPA device; select the driver of the NIC`
        : null,
  },
  {
    selectors: ["linkTypes", "pKeys"],
    why: ({ linkTypes, pKeys }) =>
      isSome(pKeys) && isSome(linkTypes) && !linkTypes.includes("infiniband")
        ? 'only links of type "infiniband" have P_Keys'
        : null,
  },
  {
    selectors: ["vendors", "drivers"],
    why: ({ vendors, drivers }) => {
      if (!isSome(vendors) || !isSome(drivers)) return null;
      const known = drivers.map((name) => (Object.hasOwn(driverVendors, name) ? (driverVendors[name] ?? null) : null));
      if (known.some((each) => each === null || each.some((vendor) => vendors.includes(vendor)))) return null;
      const of = [...new Set(known.flatMap((each) => each ?? []))].join(", ");
      return `${drivers.join(", ")} ${drivers.length === 1 ? "binds" : "bind"} only to functions of vendor ${of}`;
    },
  },
];

/** Why no device of any node can match all selectors of the object; one sentence each. */
export const contradictionsIn = (selectorObject: SelectorObject): string[] =>
  contradictions.flatMap(({ selectors, why }) => {
    const reason = why(selectorObject);
    return reason === null ? [] : [`${selectors.join(" and ")} can never match together: ${reason}`];
  });
