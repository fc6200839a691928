// How is the node shown to a person? Devices with their pools, and why each pool takes or refuses a device.

import type { Device } from "../host/device.ts";
import type { Verdict } from "../pools/explain.ts";
import type { Pool } from "../pools/pool.ts";
import { type Style, table } from "./table.ts";

/** What a device is, in a few words: "VF 3 of ens1f0", "PF ens1f0", "SF 88 of p0". */
export function kindOf(device: Device): string {
  const parent = device.pf?.interfaceName ?? device.pf?.address ?? "";
  if (device.bus === "auxiliary") {
    return device.auxType === "sf" ? `SF ${device.functionIndex} of ${parent}` : `${device.auxType} of ${parent}`;
  }
  if (device.pf) return `VF ${device.functionIndex ?? "?"} of ${parent}`;
  if (device.pciClass === 0x12) return "accelerator";
  return device.host.vfs > 0 ? `PF with ${device.host.vfs} VFs` : "PF";
}

/** The devices of a node, one a line, with the pool that each is in. */
export function deviceTable(devices: readonly Device[], pools: readonly Pool[], style: Style): string {
  const header = ["DEVICE", "KIND", "ID", "DRIVER", "NUMA", "INTERFACE", "LINK TYPE", "POOL", "HEALTH"];
  const rows = devices.map((device) => {
    const pool = pools.find(({ claims }) => claims.has(device.id));
    const health = pool ? (pool.unhealthy.has(device.id) ? "Unhealthy" : "Healthy") : "";
    return [
      device.id,
      kindOf(device),
      `${device.vendor}:${device.product}`,
      device.driver ?? "-",
      device.numaNode === null ? "-" : String(device.numaNode),
      device.interfaces.join(",") || "-",
      device.linkType ?? "-",
      pool?.spec.resource ?? "-",
      health,
    ];
  });
  return table(header, rows, style);
}

/** Why a device is where it is. */
export function explanation(device: Device, verdicts: readonly Verdict[]): string {
  const lines = verdicts.map(({ resource, outcome, reasons }) => {
    const told = reasons.length > 0 ? `: ${reasons.join("\n      ")}` : "";
    return `  ${outcome === "taken" ? "+" : "-"} ${resource} ${outcome}${told}`;
  });
  return `${device.id} (${kindOf(device)}, driver ${device.driver ?? "none"})\n${lines.join("\n") || "  no pool is configured"}\n`;
}
