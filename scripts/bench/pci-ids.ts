// A list of PCI ids as large as the complete one, made up but for the devices of the simulated nodes.

/** What the complete list has, about (https://pci-ids.ucw.cz): vendors, and for each of them devices with one subsystem. */
const vendors = 2400;
const devicesPerVendor = 7;

const intel = "8086";

const hex = (value: number): string => value.toString(16).padStart(4, "0");

/** The ids of a vendor's devices, with names as long as usual ones. */
function devicesOf(vendor: string): string {
  return Array.from({ length: devicesPerVendor }, (_, index) => {
    const id = hex(0x1000 + 17 * index);
    return `\t${id}  Ethernet Controller ${vendor}-${id}\n\t\t${vendor} ${id}  Adapter OCP 3.0 ${vendor}-${id}\n`;
  }).join("");
}

/**
 * The text of a pci.ids file, 1.4 MB.
 *
 * The upstream plugin has the complete list in its image, parses it at its start and keeps it in memory: without a list of that size it would
 * start earlier, and need 8 MiB less, than on a node.
 */
export function pciIds(): string {
  const list = Array.from({ length: vendors }, (_, index) => hex(0x1000 + 11 * index))
    .filter((vendor) => vendor !== intel)
    .map((vendor) => `${vendor}  Semiconductor Company ${vendor}\n${devicesOf(vendor)}`);
  return [
    ...list,
    `${intel}  Intel Corporation\n\t1592  Ethernet Controller E810-C\n\t1889  Ethernet Adaptive Virtual Function\n`,
    "C 02  Network controller\n\t00  Ethernet controller\n",
  ].join("");
}
