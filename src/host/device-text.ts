// How do devices get from the thread that scans to the one that serves? As JSON: it costs a third of what cloning does. What VFs have in common, their
// PF's record, is written once and is one object again afterwards.

import type { Device, ParentFunction } from "./device.ts";

/** Devices for JSON: each with the index of its PF's record, null where it has none. */
interface DeviceText {
  readonly parents: readonly ParentFunction[];
  readonly devices: readonly (Omit<Device, "pf"> & { readonly pf: number | null })[];
}

/** The devices as one text. */
export function encodeDevices(devices: readonly Device[]): string {
  const places = new Map<ParentFunction, number>();
  const placeOf = (pf: ParentFunction) => {
    const known = places.get(pf);
    if (known !== undefined) return known;
    places.set(pf, places.size);
    return places.size - 1;
  };
  const placed = devices.map((device) => ({ ...device, pf: device.pf && placeOf(device.pf) }));
  return JSON.stringify({ parents: [...places.keys()], devices: placed } satisfies DeviceText);
}

/** The devices of a text again; those that had one PF's record in common have it in common. */
export function decodeDevices(text: string): Device[] {
  const { parents, devices } = JSON.parse(text) as DeviceText;
  return devices.map(({ pf, ...device }) => ({ ...device, pf: pf === null ? null : (parents[pf] ?? null) }));
}
