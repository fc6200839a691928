// What is true of the node? A second opinion, kept by the soak itself: which VF is where, and in which pool it belongs. It
// imports nothing of the plugin's code; where two answers are right, it takes either.

/** A VF as the soak made it. */
export interface Vf {
  readonly address: string;
  readonly pf: string;
  readonly index: number;
  driver: string | null;
  linkState: "auto" | "enable" | "disable";
}

/** What decides about the VFs of a PF, in the words of docs/reference/health-and-exclusions.md. */
export type Fabric = "link, unless set down" | "link" | "port" | "bond";

/** A PF as the soak made it. */
export interface Pf {
  readonly fabric: Fabric;
  /** Of its interface: carries traffic, has no carrier, or is administratively down. */
  link: "up" | "down" | "disabled";
  /** Its driver's private flag link-down-on-close. */
  downOnClose: boolean;
  /** Whether its InfiniBand port is known to be down. */
  portDown: boolean;
}

/** An entry of the config: indexes of one PF's VFs, and the drivers that are resource. */
export interface Entry {
  readonly name: string;
  readonly pf: string;
  readonly first: number;
  readonly last: number;
  readonly drivers: readonly string[];
}

/** What a pod holds. */
export interface Holding {
  readonly pod: string;
  readonly resource: string;
  readonly address: string;
  readonly bringBack: (() => void) | null;
}

/** The node as it should be seen. */
export class Truth {
  readonly vfs = new Map<string, Vf>();
  readonly pfs = new Map<string, Pf>();
  /** Whether the ports of the bond are in it. */
  bonded = true;
  readonly held = new Map<string, Holding>();
  config: readonly Entry[] = [];

  /** The VFs of a PF, by index. */
  of(pf: string): Vf[] {
    return [...this.vfs.values()].filter((vf) => vf.pf === pf).toSorted((a, b) => a.index - b.index);
  }

  /** The resource that the config gives a VF to. */
  resourceFor({ pf, index, driver }: Vf): string | null {
    const entry = this.config.find(
      (each) =>
        each.pf === pf && each.first <= index && index <= each.last && driver !== null && each.drivers.includes(driver),
    );
    return entry ? resourceOf(entry.name) : null;
  }

  /**
   * What differs between this and the kubelet's lists, as sentences; none when all is right. `lists` is by resource
   * the health of each listed device, null for a resource whose stream is closed; `cached` has "RESOURCE ADDRESS" of what the
   * kubelet may hand out by an answer of before a reboot.
   */
  differences(lists: ReadonlyMap<string, ReadonlyMap<string, string> | null>, cached: ReadonlySet<string>): string[] {
    const differences: string[] = [];
    const places = new Map<string, { resource: string; health: string }>();
    for (const [resource, devices] of lists) {
      for (const [address, health] of devices ?? []) {
        const other = places.get(address);
        if (other) differences.push(`${address} is in ${other.resource} and in ${resource}`);
        places.set(address, { resource, health });
        if (!this.vfs.has(address)) differences.push(`${address} is in ${resource}, and is not on the node`);
      }
    }
    const names = new Set(this.config.map(({ name }) => resourceOf(name)));
    for (const vf of this.vfs.values()) {
      const place = places.get(vf.address);
      const holder = this.held.get(vf.address);
      const resource = holder ? (names.has(holder.resource) ? holder.resource : null) : this.resourceFor(vf);
      const found = place ? `${place.health} in ${place.resource}` : "nowhere";
      const expected = `${vf.address} (${vf.pf}#${vf.index}, ${vf.driver}, ${holder ? `held under ${holder.resource}` : "free"})`;
      if (!holder && vf.driver === null) {
        // Without a driver it stays, Unhealthy, in the pool where it was last; if it was in any at the time of a scan.
        if (place && place.health === "Healthy") differences.push(`${expected} is ${found}, and has no driver`);
        continue;
      }
      if ((place?.resource ?? null) !== resource) {
        differences.push(`${expected} is ${found}, not in ${resource ?? "any pool"}`);
        continue;
      }
      // What a pod holds, and another pool is to get, is not handed out where it is.
      const isRetained = holder !== undefined && this.resourceFor(vf) !== resource;
      const health = this.isHealthy(vf) && !isRetained ? "Healthy" : "Unhealthy";
      // By a cached answer the device may be another one; the plugin sees that by its nodes.
      const isCached = !holder && place?.health === "Unhealthy" && cached.has(`${resource} ${vf.address}`);
      if (place && !isCached && place.health !== health) differences.push(`${expected} is ${found}, not ${health}`);
    }
    for (const name of names) {
      const resource = resourceOf(name);
      const isNeeded = [...this.vfs.values()].some(
        (vf) => (this.held.get(vf.address)?.resource ?? this.resourceFor(vf)) === resource,
      );
      if (isNeeded && (lists.get(resource) ?? null) === null) differences.push(`${resource} has no stream`);
    }
    return differences;
  }

  isHealthy({ pf: name, driver, linkState }: Vf): boolean {
    const pf = this.pfs.get(name);
    if (driver === null || !pf) return false;
    // In switchdev mode the record says nothing.
    if (linkState === "enable" && pf.fabric !== "bond") return true;
    switch (pf.fabric) {
      case "link, unless set down":
        return pf.link === "up" || (pf.link === "disabled" && !pf.downOnClose);
      case "link":
        return pf.link === "up";
      case "port":
        return !pf.portDown;
      case "bond": {
        // What an mlx5 uplink in switchdev mode that is set down means is not known.
        const ports = this.bonded ? [...this.pfs.values()].filter(({ fabric }) => fabric === "bond") : [pf];
        return ports.some(({ link }) => link !== "down");
      }
    }
  }
}

export const resourceOf = (name: string): string => `intel.com/${name}`;
