// By which name is a PF with several interfaces known to pfNames? By its first one; by a later one only for what no entry selects otherwise.

import type { Device } from "../host/device.ts";
import { deviceTypes } from "./device-types.ts";
import type { PoolSpec } from "./pool.ts";
import { matches } from "./selectors.ts";

/**
 * Returns the devices with the PF's name by which a selector finds them.
 *
 * A PF can have several interfaces (mlx4 with two ports, nfp). The upstream plugin has the first alone, so what an entry selects by that
 * stays there; a later name selects what would be in no pool.
 */
export function namedForSelection(specs: readonly PoolSpec[], devices: readonly Device[]): readonly Device[] {
  if (!devices.some(({ pf }) => pf !== null && pf.laterNames.length > 0)) return devices;
  const isSelected = (device: Device) =>
    specs.some(
      ({ deviceType, selectors }) =>
        deviceTypes[deviceType].isOfType(device) && selectors.some((selectorObject) => matches(device, selectorObject)),
    );
  return devices.map((device) => {
    const { pf } = device;
    if (!pf || pf.laterNames.length === 0 || isSelected(device)) return device;
    for (const interfaceName of pf.laterNames) {
      const known = { ...device, pf: { ...pf, interfaceName } };
      if (isSelected(known)) return known;
    }
    return device;
  });
}
