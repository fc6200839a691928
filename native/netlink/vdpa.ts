// Which vDPA devices are there, and who manages them (include/uapi/linux/vdpa.h)?
// The family exists in the initial network namespace only (netnsok in drivers/vdpa/vdpa.c); drivers are known from sysfs.

import type { GenericNetlink } from "./generic.ts";
import type { Attributes } from "./message.ts";

export const VDPA_FAMILY = "vdpa";

const VDPA_CMD_DEV_GET = 5;
const VDPA_ATTR_MGMTDEV_BUS_NAME = 1;
const VDPA_ATTR_MGMTDEV_DEV_NAME = 2;
const VDPA_ATTR_DEV_NAME = 4;

export interface VdpaDevice {
  readonly name: string;
  /** "pci" or "auxiliary"; null when the management device is on no bus. */
  readonly managementBus: string | null;
  readonly managementDevice: string;
}

/** Every vDPA device in one dump; none when the family is absent. Throws what NetlinkSocket.dump throws. */
export function readVdpaDevices(generic: GenericNetlink): VdpaDevice[] {
  const family = generic.family(VDPA_FAMILY);
  if (family === null) return [];
  return generic
    .dump(family, VDPA_CMD_DEV_GET)
    .map(({ attributes }) => decodeVdpaDevice(attributes))
    .filter((device) => device !== null);
}

/** The device in an answer; null when it lacks its name or its manager's. */
export function decodeVdpaDevice(attributes: Attributes): VdpaDevice | null {
  const name = attributes.string(VDPA_ATTR_DEV_NAME);
  const managementDevice = attributes.string(VDPA_ATTR_MGMTDEV_DEV_NAME);
  if (name === null || managementDevice === null) return null;
  return { name, managementBus: attributes.string(VDPA_ATTR_MGMTDEV_BUS_NAME), managementDevice };
}
