// What was meant by an unknown key? Keys of other levels, of other device types, of the format before
// version 3 and of the operator's policies have their own hints; a near miss names the key.

import { type DeviceTypeName, deviceTypeNames, deviceTypes } from "../pools/device-types.ts";
import { type SelectorName, selectorNames } from "../pools/selectors.ts";
import { didYouMean } from "./problem.ts";
import { entryKeys, fileKeys } from "./config-schema.ts";

/** Where a key can be: at the top of the file, in an entry of resourceList, in a selector object. */
export type KeyLevel = "file" | "entry" | "selector";

const keysOf: Readonly<Record<KeyLevel, readonly string[]>> = {
  file: fileKeys,
  entry: entryKeys,
  selector: selectorNames,
};

const home: Readonly<Record<KeyLevel, string>> = {
  file: "belongs at the top of the file",
  entry: 'belongs in the entry, beside "selectors"',
  selector: 'is a selector and belongs inside "selectors"',
};

/** Keys that other programs and earlier formats have, in lower case, with their equivalents here. */
const otherKeys: Readonly<Record<string, string>> = {
  // The upstream plugin's format before version 3 (its README of v2.2).
  sriovmode: 'is of the format before version 3; select VFs with "drivers", "pfNames" or "rootDevices"',
  // sriov-network-operator, SriovNetworkNodePolicy.spec.nicSelector and .spec.
  netfilter: 'is a key of SriovNetworkNodePolicy; select devices with "pfNames" or "rootDevices"',
  numvfs: 'is a key of SriovNetworkNodePolicy; select VFs by index, as in "pfNames": ["ens1f0#0-7"]',
  rdma: 'is no selector; RDMA devices are selected with "isRdma": true',
};

/** A key that is right elsewhere: where, as the end of a sentence; null when it is right nowhere. */
export function misplaced(key: string, at: KeyLevel): string | null {
  const lower = key.toLowerCase();
  const level = (["selector", "entry", "file"] as const).find(
    (each) => each !== at && keysOf[each].some((known) => known.toLowerCase() === lower),
  );
  if (level !== undefined) return home[level];
  return Object.hasOwn(otherKeys, lower) ? (otherKeys[lower] ?? null) : null;
}

/** The key that was probably meant, of this place or of one below it, as the end of a sentence; null when none is near. */
export function nearKeyHint(key: string, at: KeyLevel): string | null {
  const here = didYouMean(key, keysOf[at]);
  if (here !== null) return `did you mean "${here}"?`;
  const below = at === "entry" ? "selector" : at === "file" ? "entry" : null;
  const there = below && didYouMean(key, keysOf[below]);
  return below && there ? `did you mean "${there}"? It ${home[below]}` : null;
}

/** What selects, in a device type, what a selector of another type would select. */
const instead: Readonly<Record<DeviceTypeName, Readonly<Partial<Record<SelectorName, string>>>>> = {
  netDevice: { auxTypes: 'SFs are of "deviceType": "auxNetDevice"' },
  accelerator: { pfNames: 'select by "pciAddresses"', rootDevices: 'select by "pciAddresses"' },
  auxNetDevice: { pciAddresses: 'the SFs below a PF are selected by its address with "rootDevices"' },
};

/** Whose selector it is that a device type does not have, and what to write in its place. */
export function ofOtherTypes(name: SelectorName, type: DeviceTypeName): string {
  const owners = deviceTypeNames.filter((each) => (deviceTypes[each].selectors as readonly string[]).includes(name));
  const hint = instead[type][name];
  return `a selector of ${owners.join(" and ")}, not of ${type}${hint === undefined ? "" : `; ${hint}`}`;
}

/** What an unknown device type probably means, as the end of a sentence; "" when that is not known. */
export function deviceTypeHint(written: string): string {
  const near = didYouMean(written, deviceTypeNames);
  if (near !== null) return `; did you mean "${near}"?`;
  const former: Readonly<Record<string, string>> = {
    vfio: '"drivers": ["vfio-pci"]',
    uio: '"drivers": ["igb_uio"] or ["uio_pci_generic"]',
    rdma: '"isRdma": true',
  };
  const lower = written.toLowerCase();
  return Object.hasOwn(former, lower)
    ? `; that is of the format before version 3: write netDevice, and ${former[lower]} inside "selectors"`
    : "";
}
