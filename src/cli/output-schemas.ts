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
  present: [flag, "whether it is there now"],
});

const linkState = object({
  interfaceName: [text, "the interface"],
  index: [count, "its index; another one once its driver has made it anew"],
  adminUp: [flag, "whether it is administratively up"],
  operstate: [text, "the state of RFC 2863"],
  carrier: [orNull(flag), "whether it has a carrier"],
  carrierUps: [orNull(count), "how often it got a carrier"],
});

const portIdentity = {
  portId: [orNull(text), "the port's phys_port_id"],
  devPort: [orNull(count), "its dev_port, of drivers that count ports by it"],
} as const;

const port = object({
  name: [text, "the interface, or `mlx5_0/1` for port 1 of an RDMA device"],
  owner: [text, "the function whose port it is"],
  driver: [orNull(text), "its driver"],
  isSwitchdev: [flag, "whether its eswitch is in switchdev mode"],
  ...portIdentity,
  link: [orNull(linkState), "the state of its interface"],
  linkDownOnClose: [orNull(flag), "the driver's private flag link-down-on-close"],
  isInfiniband: [flag, "whether it is an InfiniBand port"],
  infinibandState: [orNull(text), "the state of an InfiniBand port"],
  graceEnds: [orNull(number), "for the running plugin"],
});

const parent = object({
  address: [text, "PCI address of the PF"],
  interfaceName: [orNull(text), "its interface; in switchdev mode the uplink representor"],
  laterNames: [texts, "further interfaces"],
  isKernelNamed: [flag, "whether a name may still be replaced"],
  pendingNames: [
    orNull(object({ key: [text, "for the running plugin"], at: [number, "for the running plugin"] })),
    "for the running plugin",
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
  id: [text, "the device id of the kubelet: a PCI address, or an auxiliary device's name"],
  bus: [oneOf("pci", "auxiliary"), "the bus"],
  pci: [text, "the address of the PCI function, or of the one below which the auxiliary device hangs"],
  pciClass: [count, "the PCI base class: 2 for network controllers, 18 for processing accelerators"],
  vendor: [text, "PCI vendor id, four lower-case hexadecimal digits"],
  product: [text, "PCI device id, four lower-case hexadecimal digits"],
  driver: [orNull(text), "the bound driver"],
  numaNode: [orNull(count), "the NUMA node"],
  pcieRoot: [orNull(text), "`pci0000:40`; what shares it has the shortest way to one another"],
  iommuGroup: [orNull(text), "the number of the IOMMU group"],
  functionIndex: [orNull(count), "the VF's index below its PF, or the SF's number"],
  pf: [orNull(parent), "the PF above a VF or SF"],
  interfaces: [texts, "its own network interfaces that the host can see now"],
  linkType: [orNull(text), "`ether`, `infiniband`, ..."],
  link: [orNull(linkState), "its own interface"],
  ports: [listOf(port), "of a function without PF: the ports by which it reaches the network"],
  pfPorts: [listOf(object(portIdentity)), "of a VF: the PF's ports that it uses, where its driver says so"],
  vfLinkState: [
    orNull(oneOf("auto", "enable", "disable")),
    "the link-state policy at its PF; null in switchdev mode. It never makes a VF Unhealthy",
  ],
  auxType: [orNull(text), "`sf` of `mlx5_core.sf.4`"],
  acpiIndex: [orNull(text), "what the selector acpiIndexes tests"],
  pKey: [orNull(text), "what the selector pKeys tests"],
  ddpProfile: [orNull(text), "the DDP package; read only when a pool selects by it"],
  rdma: [
    orNull(object({ names: [texts, "its RDMA devices; none while a pod has them"] })),
    "null when it is not RDMA-capable",
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
        noIommu: [flag, "whether it is one of the no-IOMMU mode"],
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
        defaultRoute: [orNull(text), "the interface by which a default route leaves through it"],
        isRouteAdvertised: [flag, "whether router advertisements made every such route; absent otherwise"],
        awaitsRoute: [flag, "whether the node has just booted and has no default route yet; absent otherwise"],
        vfs: [count, "the number of its VFs"],
      },
      ["isRouteAdvertised", "awaitsRoute"],
    ),
    "what excludes it, since the host needs it",
  ],
  pool: [orNull(text), "the resource that has it"],
  health: [orNull(health), "as the pool reports it; null in no pool"],
  unhealthyReason: [orNull(text), "why it is Unhealthy, as a sentence"],
  excluded: [texts, "sentences: why no pool may have it"],
  allocation: [orNull(allocation), "the pod that has it; null for none, and where no running plugin answers"],
  withheld: [flag, "whether it is in no pool until its pod ends"],
});

const failedTest = {
  index: [count, "the selector object"],
  selector: [text, "the selector"],
  expected: [texts, "the values that would do"],
  found: [texts, "what the devices have"],
} as const;

const explained = object({
  source: [oneOf("plugin", "scan"), "who answers: the running plugin, or a scan of the command's own"],
  devices: [
    listOf(
      object({
        id: [text, "the device"],
        kind: [kind, "as in discover"],
        pool: [orNull(text), "the resource that has it"],
        health: [orNull(health), "as in discover"],
        unhealthyReason: [orNull(text), "as in discover"],
        allocation: [orNull(allocation), "as in discover"],
        withheld: [flag, "as in discover"],
        excluded: [texts, "as in discover"],
        linkRule: [
          orNull(text),
          "a sentence: the rule that decides about its link; null when a port that is up does, or when the device is Unhealthy by it",
        ],
        verdicts: [
          listOf(
            object({
              resource: [text, "each pool, in the order of the file"],
              outcome: [
                oneOf("selected", "retained", "not selected", "excluded", "claimed earlier", "withheld", "other type"),
                "what the pool does with the device",
              ],
              reasons: [texts, "sentences"],
              claimedBy: [orNull(text), "the other pool that has it"],
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
                          expected: [texts, "the values that would do"],
                          found: [text, "what the device has: `none` for nothing"],
                          passes: [flag, "whether it passes"],
                        }),
                      ),
                      "one a selector",
                    ],
                  }),
                ),
                "none when the device is of another type",
              ],
            }),
          ),
          "what each pool says of it",
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
          "its selector objects: names, each with a list of its values",
        ],
        devices: [
          listOf(
            object({
              id: [text, "each device that it has"],
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
          "devices that an earlier pool has, or one that retains them",
        ],
        withheld: [
          listOf(
            object({
              id: [text, "a device that it selects"],
              resource: [text, "the resource as which a pod has it"],
              pod: [text, "the pod"],
              nextPool: [orNull(text), "the pool that gets it when the pod ends"],
            }),
          ),
          "devices that are in no pool until their pods end",
        ],
        excluded: [
          listOf(object({ reasons: [texts, "sentences"], devices: [texts, "their ids"] })),
          "devices of its type that no pool may have",
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
    "the resources that were named; all when nothing was",
  ],
});

const problem = object({
  severity: [oneOf("error", "skip", "warning"), "`error` (the file is rejected), `skip` (the entry is) or `warning`"],
  path: [text, "as `resourceList[2].selectors[0].vendors`; empty for the file as a whole"],
  message: [text, "a sentence"],
  line: [orNull({ type: "integer", minimum: 1 }), "in the file; null for what is about no place in it"],
  column: [orNull({ type: "integer", minimum: 1 }), "in the line"],
});

const validated = object({
  valid: [flag, "whether all configs run, all their entries included; warnings do not count"],
  node: [orNull(text), "the node that they were checked against: `this node`, or the file of `--node`"],
  configs: [
    listOf(
      object({
        file: [text, "the file's name, or `standard input`"],
        configMap: [orNull(text), "`NAMESPACE/NAME` of the ConfigMap in the file"],
        key: [orNull(text), "the key of the ConfigMap"],
        valid: [flag, "whether it runs, all its entries included"],
        pools: [
          listOf(
            object({
              resource: [text, "each entry; none when the config is rejected"],
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
  health: [health, "what the kubelet has been told"],
  unhealthyReason: [orNull(text), "why it is Unhealthy, as a sentence"],
  basis: [
    oneOf("selected", "retained", "draining"),
    "why it is in the pool: a selector selects it; its pod retains it; it leaves when its pod ends",
  ],
  listed: [flag, "whether the kubelet has been told of it: a pool may have more devices than a list can hold"],
  allocation: [orNull(allocation), "the pod that has it"],
});

const status = object({
  version: [text, "of the plugin"],
  commit: [text, "that it was built from"],
  pid: [count, "its process"],
  started: [time, "when it started"],
  mode: [
    orNull(oneOf("watcher", "legacy")),
    "how it registers with the kubelet; null until the kubelet's folders are there",
  ],
  ready: [flag, "whether the initial scan is complete and every pool has its server"],
  config: [
    object({
      file: [text, "the config file"],
      generation: [count, "how many configs were taken into use since the start"],
      lastReload: [
        orNull(
          object({
            at: [time, "when the file was last found to say something else"],
            success: [flag, "whether it is in use; false: rejected, the config before it stays active"],
            problems: [listOf(problem), "its errors and warnings"],
          }),
        ),
        "the last time that it was read",
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
                "as the metric sriovdp_pool_state has it",
              ],
              reason: [orNull(text), "why"],
              since: [time, "since when"],
              registrations: [count, "registrations that the kubelet confirmed"],
              failures: [count, "registrations that failed"],
              lastAt: [orNull(time), "when the last one was confirmed"],
              streams: [count, "open ListAndWatch streams"],
            }),
          ),
          "how it stands with the kubelet; null for a pool that never had a device",
        ],
        counts: [
          object({
            devices: [count, "its devices"],
            healthy: [count, "of them Healthy"],
            allocated: [orNull(count), "of them allocated to pods; null while that is unknown"],
            free: [orNull(count), "what a new pod can get: Healthy, listed and not allocated"],
          }),
          "the numbers of the table; also with --unhealthy those of the whole pool",
        ],
        devices: [listOf(statusDevice), "its devices"],
        allocations: [
          object({
            calls: [count, "calls of Allocate, those refused included"],
            failures: [count, "of them refused or failed"],
            devices: [count, "devices that they handed out"],
            lastAt: [orNull(time), "when the last one was"],
          }),
          "since the pool is served",
        ],
        changes: [
          object({
            toUnhealthy: [count, "devices that became Unhealthy"],
            toHealthy: [count, "devices that became Healthy"],
            linkFlaps: [count, "links that went away below them"],
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
        device: [text, "a device that no pool may have"],
        rule: [oneOf(...exclusionRules), "as the metric sriovdp_excluded_devices has it"],
        reason: [text, "why, in words"],
        since: [time, "since when"],
        until: [text, "until when, in words"],
      }),
    ),
    "devices that the host needs",
  ],
  retentions: [
    listOf(
      object({
        device: [text, "a device that its pod keeps from where the config would have it"],
        resource: [text, "the resource as which the pod has it"],
        pod: [text, "the pod"],
        kind: [
          oneOf("retained", "withheld"),
          "`retained`: it is in its pod's pool, Unhealthy; `withheld`: it is in no pool",
        ],
        nextPool: [orNull(text), "the pool that gets it when the pod ends"],
      }),
    ),
    "devices that pods keep from where the config would have them",
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
    "all that is allocated of the configured pools, and what is withheld from them; null when there is no evidence",
  ],
  allocatedFailure: [orNull(text), "why there is no evidence of what is allocated"],
});

const reported = object({
  files: [
    listOf(
      object({
        name: [text, "the file in the archive"],
        bytes: [count, "its size"],
        content: [text, "what is in it, in words"],
        text: [text, "its text, as it would be sent"],
      }),
    ),
    "what the archive holds",
  ],
  missing: [listOf(object({ name: [text, "a file"], reason: [text, "why it is not there"] })), "what could not be had"],
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
