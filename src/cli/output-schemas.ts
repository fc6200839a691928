// What do commands print as JSON? A JSON Schema (draft 7) a command: `sriovdp schema COMMAND` prints it, the documentation's tables are made of
// it, and the tests hold what the commands print against it.

import { allocationEvidences } from "../pools/decide-allocations.ts";
import { deviceTypeNames } from "../pools/device-types.ts";
import { exclusionRules } from "../pools/exclusions.ts";
import { poolStates } from "../telemetry/metrics.ts";
import type { schemaNames } from "./options.ts";

/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string" };
const flag: Schema = { type: "boolean" };
const count: Schema = { type: "integer", minimum: 0 };
const number: Schema = { type: "number" };
const time: Schema = { type: "string", format: "date-time" };
const oneOf = (...values: readonly string[]): Schema => ({ enum: values });
const listOf = (items: Schema): Schema => ({ type: "array", items });
const texts = listOf(text);

/** A value, or null where it does not apply. */
function orNull(schema: Schema): Schema {
  if (typeof schema["type"] === "string") return { ...schema, type: [schema["type"], "null"] };
  return Array.isArray(schema["enum"])
    ? { ...schema, enum: [...schema["enum"], null] }
    : { anyOf: [schema, { type: "null" }] };
}

/** An object all of whose fields are always there; each with what it means. Further ones may come in any release. */
const object = (
  fields: Readonly<Record<string, readonly [Schema, string]>>,
  optional: readonly string[] = [],
): Schema => ({
  type: "object",
  properties: Object.fromEntries(
    Object.entries(fields).map(([name, [schema, description]]) => [name, { ...schema, description }]),
  ),
  required: Object.keys(fields).filter((name) => !optional.includes(name)),
});

const kind = oneOf("PF", "VF", "SF", "auxiliary", "accelerator");
const health = oneOf("Healthy", "Unhealthy");
const deviceType = oneOf(...deviceTypeNames);

const allocation = object({
  resource: [text, "the resource that the pod requested"],
  pod: [text, "`NAMESPACE/POD`; the pod's UID while only that is known; empty while the pod is being admitted"],
  container: [text, "the container; may be empty as `pod`"],
  evidence: [oneOf(...allocationEvidences), "what shows it"],
});

const charDevice = object({
  path: [text, "on the host"],
  present: [flag, "whether it exists now"],
});

const linkState = object({
  interfaceName: [text, "the interface"],
  index: [count, "its index, which changes if the interface is re-created"],
  adminUp: [flag, "whether it is administratively up"],
  operstate: [text, "the operational state (RFC 2863)"],
  carrier: [orNull(flag), "whether it has a carrier"],
  carrierUps: [orNull(count), "how often the carrier came up"],
});

const portIdentity = {
  portId: [orNull(text), "the port's phys_port_id"],
  devPort: [orNull(count), "its dev_port, if its driver numbers ports by it"],
} as const;

const port = object({
  name: [text, "the interface, or `mlx5_0/1` for port 1 of an RDMA device"],
  owner: [text, "the function that it belongs to"],
  driver: [orNull(text), "its driver"],
  isSwitchdev: [flag, "whether its eswitch is in switchdev mode"],
  ...portIdentity,
  link: [orNull(linkState), "the state of its interface"],
  linkDownOnClose: [orNull(flag), "the driver's private flag link-down-on-close"],
  isInfiniband: [flag, "whether it is an InfiniBand port"],
  infinibandState: [orNull(text), "the state of an InfiniBand port"],
  graceEnds: [orNull(number), "used by the running plugin"],
});

const parent = object({
  address: [text, "PCI address of the PF"],
  interfaceName: [orNull(text), "its interface; in switchdev mode the uplink representor"],
  laterNames: [texts, "further interfaces"],
  isKernelNamed: [flag, "whether a name may still be replaced"],
  pendingNames: [
    orNull(object({ key: [text, "used by the running plugin"], at: [number, "used by the running plugin"] })),
    "used by the running plugin",
  ],
  link: [orNull(linkState), "the state of the interface that names it"],
  isSwitchdev: [flag, "whether its eswitch is in switchdev mode"],
  ports: [listOf(port), "its ports"],
  sharedPorts: [
    orNull(
      object({
        bond: [orNull(text), "the bond; null for a multiport eswitch"],
        ports: [listOf(port), "the ports that are used as one"],
      }),
    ),
    "ports that a hardware bond or a multiport eswitch uses as one",
  ],
});

const discovered = object({
  kind: [
    kind,
    "`PF` (also a function without SR-IOV), `VF`, `SF`, `auxiliary` (any other auxiliary device) or `accelerator`",
  ],
  id: [text, "the device id for the kubelet: a PCI address, or the name of an auxiliary device"],
  bus: [oneOf("pci", "auxiliary"), "the bus"],
  pci: [text, "the address of the PCI function, or of the parent of the auxiliary device"],
  pciClass: [count, "the PCI base class: 2 for network controllers, 18 for processing accelerators"],
  vendor: [text, "PCI vendor id, four lower-case hexadecimal digits"],
  product: [text, "PCI device id, four lower-case hexadecimal digits"],
  driver: [orNull(text), "the bound driver"],
  numaNode: [orNull(count), "the NUMA node"],
  pcieRoot: [orNull(text), "such as `pci0000:40`; devices with the same root have the shortest path between them"],
  iommuGroup: [orNull(text), "the number of the IOMMU group"],
  functionIndex: [orNull(count), "the VF's index below its PF, or the SF's number"],
  pf: [orNull(parent), "the PF above a VF or SF"],
  interfaces: [texts, "its own network interfaces that the host can see now"],
  linkType: [orNull(text), "`ether`, `infiniband`, ..."],
  link: [orNull(linkState), "its own interface"],
  ports: [listOf(port), "of a function without a PF: the ports that it uses"],
  pfPorts: [listOf(object(portIdentity)), "of a VF: the ports of the PF that it uses, if its driver reports them"],
  vfLinkState: [
    orNull(oneOf("auto", "enable", "disable")),
    "the link-state policy at its PF; null in switchdev mode. It never makes a VF Unhealthy",
  ],
  auxType: [orNull(text), "`sf` of `mlx5_core.sf.4`"],
  acpiIndex: [orNull(text), "the value that the selector acpiIndexes matches"],
  pKey: [orNull(text), "the value that the selector pKeys matches"],
  ddpProfile: [orNull(text), "the DDP package; read only when a pool selects by it"],
  rdma: [
    orNull(object({ names: [texts, "its RDMA devices; empty while a pod has them"] })),
    "null if it is not RDMA-capable",
  ],
  vdpa: [
    orNull(
      object({
        name: [text, "the vDPA device"],
        type: [orNull(oneOf("vhost", "virtio")), "what it is bound to"],
        node: [orNull(charDevice), "its character device"],
      }),
    ),
    "the vDPA device that it manages",
  ],
  vfio: [
    orNull(
      object({
        group: [orNull(text), "the IOMMU group"],
        noIommu: [flag, "whether it is a group of the no-IOMMU mode"],
        node: [orNull(charDevice), "the group's character device"],
        cdev: [orNull(charDevice), "the function's own character device"],
      }),
    ),
    "of a function bound to a VFIO driver",
  ],
  uio: [orNull(charDevice), "of a function bound to a UIO driver"],
  host: [
    object(
      {
        defaultRoute: [orNull(text), "the interface through which a default route leaves"],
        isRouteAdvertised: [flag, "whether router advertisements made every such route; absent otherwise"],
        awaitsRoute: [flag, "whether the node has just booted and has no default route yet; absent otherwise"],
        vfs: [count, "the number of its VFs"],
      },
      ["isRouteAdvertised", "awaitsRoute"],
    ),
    "why the host needs it",
  ],
  pool: [orNull(text), "the resource that it belongs to"],
  health: [orNull(health), "as reported to the kubelet; null in no pool"],
  unhealthyReason: [orNull(text), "why it is Unhealthy, as a sentence"],
  excluded: [texts, "sentences: why no pool offers it"],
  allocation: [orNull(allocation), "the pod to which it is allocated; null for none, and if no plugin answers"],
  withheld: [flag, "whether it is in no pool until its pod ends"],
});

const failedTest = {
  index: [count, "the selector object"],
  selector: [text, "the selector"],
  expected: [texts, "the expected values"],
  found: [texts, "the values that the devices have"],
} as const;

const explained = object({
  source: [oneOf("plugin", "scan"), "the source of the answer: the running plugin, or a scan by the command"],
  devices: [
    listOf(
      object({
        id: [text, "the device"],
        kind: [kind, "as in discover"],
        pool: [orNull(text), "the resource that it belongs to"],
        health: [orNull(health), "as in discover"],
        unhealthyReason: [orNull(text), "as in discover"],
        allocation: [orNull(allocation), "as in discover"],
        withheld: [flag, "as in discover"],
        excluded: [texts, "as in discover"],
        linkRule: [
          orNull(text),
          "a sentence: the rule that applies to its link; null if that is simply a port that is up, or if the link makes the device Unhealthy",
        ],
        verdicts: [
          listOf(
            object({
              resource: [text, "each pool, in the order of the file"],
              outcome: [
                oneOf("selected", "retained", "not selected", "excluded", "claimed earlier", "withheld", "other type"),
                "the result for this pool",
              ],
              reasons: [texts, "sentences"],
              claimedBy: [orNull(text), "the other pool that claimed it"],
              selector: [orNull(count), "the index of the selector object that selected it"],
              trials: [
                listOf(
                  object({
                    index: [count, "each selector object"],
                    passes: [flag, "whether all its tests pass"],
                    tests: [
                      listOf(
                        object({
                          selector: [text, "the selector"],
                          expected: [texts, "the expected values"],
                          found: [text, "the value that was found; `none` if there is none"],
                          passes: [flag, "whether it passes"],
                        }),
                      ),
                      "one a selector",
                    ],
                  }),
                ),
                "empty if the device has another type",
              ],
            }),
          ),
          "the result for each pool",
        ],
      }),
    ),
    "the devices that were named",
  ],
  resources: [
    listOf(
      object({
        resource: [text, "the pool"],
        deviceType: [deviceType, "its device type"],
        selectors: [
          listOf({ type: "object", additionalProperties: texts }),
          "its selector objects: names, each with the list of its values",
        ],
        devices: [
          listOf(
            object({
              id: [text, "each of its devices"],
              selector: [orNull(count), "the index of the selector object that selected it; null when it is retained"],
              health: [health, "as in discover"],
              unhealthyReason: [orNull(text), "as in discover"],
              allocation: [orNull(allocation), "as in discover"],
            }),
          ),
          "its devices",
        ],
        claimedEarlier: [
          listOf(object({ id: [text, "a device that it selects too"], claimedBy: [text, "the pool that has it"] })),
          "devices that an earlier pool claimed, or that another pool retains",
        ],
        withheld: [
          listOf(
            object({
              id: [text, "a device that it selects"],
              resource: [text, "the resource from which a pod got it"],
              pod: [text, "the pod"],
              nextPool: [orNull(text), "the pool that it moves to when the pod ends"],
            }),
          ),
          "devices that are in no pool until their pods end",
        ],
        excluded: [
          listOf(object({ reasons: [texts, "sentences"], devices: [texts, "their ids"] })),
          "excluded devices of its type",
        ],
        notSelected: [
          listOf(
            object({
              failed: [listOf(object(failedTest)), "the selectors that failed"],
              devices: [texts, "ids of devices that fail the same selectors"],
            }),
          ),
          "devices of its type that its selectors do not select",
        ],
        ofOtherTypes: [count, "the number of devices of other types"],
      }),
    ),
    "the resources that were named; all of them if none was",
  ],
});

const problem = object({
  severity: [oneOf("error", "skip", "warning"), "`error` (the file is rejected), `skip` (the entry is) or `warning`"],
  path: [text, "as `resourceList[2].selectors[0].vendors`; empty for the file as a whole"],
  message: [text, "a sentence"],
  line: [orNull({ type: "integer", minimum: 1 }), "in the file; null if it concerns no particular place"],
  column: [orNull({ type: "integer", minimum: 1 }), "in the line"],
});

const validated = object({
  valid: [flag, "whether the plugin would use all configs with all their entries; warnings do not count"],
  node: [orNull(text), "the node that they were checked against: `this node`, or the file of `--node`"],
  configs: [
    listOf(
      object({
        file: [text, "the file's name, or `standard input`"],
        configMap: [orNull(text), "`NAMESPACE/NAME` of the ConfigMap in the file"],
        key: [orNull(text), "the key of the ConfigMap"],
        valid: [flag, "whether the plugin would use it with all its entries"],
        pools: [
          listOf(
            object({
              resource: [text, "each entry; empty if the config is rejected"],
              deviceType: [deviceType, "its device type"],
              devices: [orNull(count), "how many devices it would have on the node"],
            }),
          ),
          "its pools",
        ],
        problems: [listOf(problem), "its errors and warnings"],
      }),
    ),
    "each config that was found",
  ],
});

const statusDevice = object({
  id: [text, "the device"],
  kind: [kind, "as in discover"],
  functionIndex: [orNull(count), "as in discover"],
  pf: [
    orNull(object({ address: [text, "the PF above it"], interfaceName: [orNull(text), "its interface"] })),
    "the PF above it",
  ],
  interfaces: [texts, "as in discover"],
  health: [health, "as reported to the kubelet"],
  unhealthyReason: [orNull(text), "why it is Unhealthy, as a sentence"],
  basis: [
    oneOf("selected", "retained", "draining"),
    "why it is in the pool: a selector matches it, its pod retains it, or it leaves when its pod ends",
  ],
  listed: [flag, "whether it is in the kubelet's list: a pool may have more devices than a list can hold"],
  allocation: [orNull(allocation), "the pod that has it"],
});

const status = object({
  version: [text, "of the plugin"],
  commit: [text, "the commit that it was built from"],
  pid: [count, "its process"],
  started: [time, "when it started"],
  mode: [
    orNull(oneOf("watcher", "legacy")),
    "how it registers with the kubelet; null until the kubelet's folders exist",
  ],
  ready: [flag, "whether the initial scan is complete and every pool has a socket"],
  config: [
    object({
      file: [text, "the config file"],
      generation: [count, "how many configs became active since the start"],
      lastReload: [
        orNull(
          object({
            at: [time, "when the file was last found changed"],
            success: [flag, "whether it is active; false: rejected, and the previous config stays active"],
            problems: [listOf(problem), "its errors and warnings"],
          }),
        ),
        "the last reload",
      ],
    }),
    "the config",
  ],
  scans: [
    object({
      count: [count, "scans of the node since the start"],
      failures: [count, "of them failed"],
      failure: [orNull(text), "why the last one failed"],
      lastEnd: [orNull(time), "when the last one ended"],
      lastMs: [orNull(number), "how long it took, in milliseconds"],
      runningMs: [orNull(number), "for how long the current one has been running"],
      stalled: [
        orNull(object({ ms: [count, "for how long"], reading: [orNull(text), "what is read"] })),
        "a scan that waits for a driver that does not answer",
      ],
    }),
    "scans of the node",
  ],
  pools: [
    listOf(
      object({
        resource: [text, "the pool"],
        deviceType: [deviceType, "its device type"],
        registration: [
          orNull(
            object({
              state: [
                oneOf(...poolStates.filter((each) => each !== "not_registered")),
                "as in the metric sriovdp_pool_state",
              ],
              reason: [orNull(text), "why"],
              since: [time, "since when"],
              registrations: [count, "registrations that the kubelet accepted"],
              failures: [count, "registrations that failed"],
              lastAt: [orNull(time), "when the last one was accepted"],
              streams: [count, "open ListAndWatch streams"],
            }),
          ),
          "its registration with the kubelet; null if no device has matched yet",
        ],
        counts: [
          object({
            devices: [count, "its devices"],
            healthy: [count, "of them Healthy"],
            allocated: [orNull(count), "devices allocated to pods; null while unknown"],
            free: [orNull(count), "what a new pod can get: Healthy, listed and not allocated"],
          }),
          "the numbers in the table; with --unhealthy, still those of the whole pool",
        ],
        devices: [listOf(statusDevice), "its devices"],
        allocations: [
          object({
            calls: [count, "Allocate calls, including refused ones"],
            failures: [count, "calls that were refused or failed"],
            devices: [count, "devices that were allocated"],
            lastAt: [orNull(time), "when the last call was"],
          }),
          "since the pool is served",
        ],
        changes: [
          object({
            toUnhealthy: [count, "devices that became Unhealthy"],
            toHealthy: [count, "devices that became Healthy"],
            linkFlaps: [count, "links that were lost"],
          }),
          "since the pool is served",
        ],
      }),
    ),
    "the configured pools",
  ],
  excluded: [
    listOf(
      object({
        device: [text, "an excluded device"],
        rule: [oneOf(...exclusionRules), "as in the metric sriovdp_excluded_devices"],
        reason: [text, "why, in words"],
        since: [time, "since when"],
        until: [text, "until when, in words"],
      }),
    ),
    "devices that no pool offers because the host needs them",
  ],
  retentions: [
    listOf(
      object({
        device: [text, "a device that its pod keeps out of its new pool"],
        resource: [text, "the resource from which the pod got it"],
        pod: [text, "the pod"],
        kind: [
          oneOf("retained", "withheld"),
          "`retained`: it is in its pod's pool, Unhealthy; `withheld`: it is in no pool",
        ],
        nextPool: [orNull(text), "the pool that it moves to when the pod ends"],
      }),
    ),
    "devices that pods keep out of their new pools",
  ],
  allocated: [
    orNull(
      listOf(
        object({
          id: [text, "a device"],
          resource: [text, "as in `allocation`"],
          pod: [text, "as in `allocation`"],
          container: [text, "as in `allocation`"],
          evidence: [oneOf(...allocationEvidences), "as in `allocation`"],
        }),
      ),
    ),
    "allocated devices of the configured pools, and withheld devices; null if allocations cannot be read",
  ],
  allocatedFailure: [orNull(text), "why allocations cannot be read"],
});

const reported = object({
  files: [
    listOf(
      object({
        name: [text, "the file in the archive"],
        bytes: [count, "its size"],
        content: [text, "a description of its content"],
        text: [text, "its content, as it would be sent"],
      }),
    ),
    "what the archive holds",
  ],
  missing: [
    listOf(object({ name: [text, "a file"], reason: [text, "why it is not there"] })),
    "what could not be collected",
  ],
});

const titled = (title: string, schema: Schema): Schema => ({
  $schema: "http://json-schema.org/draft-07/schema#",
  title,
  ...schema,
});

/** The schema of what each command prints with -o json. */
export const outputSchemas = {
  discover: titled("sriovdp discover -o json", listOf(discovered)),
  explain: titled("sriovdp explain -o json", explained),
  report: titled("sriovdp report --check -o json", reported),
  status: titled("sriovdp status -o json", status),
  validate: titled("sriovdp validate -o json", validated),
} as const satisfies Record<Exclude<(typeof schemaNames)[number], "config">, Schema>;
