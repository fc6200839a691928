// What does `status -o json` print? A JSON Schema.

import { allocationEvidences } from "../pools/decide-allocations.ts";
import { publisherModes } from "../dra/publisher-state.ts";
import { exclusionRules } from "../pools/exclusions.ts";
import { claimBases } from "../pools/pool.ts";
import { poolStates } from "../telemetry/metrics.ts";
import {
  allocation,
  count,
  deviceType,
  flag,
  health,
  kind,
  listOf,
  number,
  object,
  oneOf,
  orNull,
  problem,
  text,
  texts,
  time,
} from "./schema-terms.ts";

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
    oneOf(...claimBases),
    "why it is in the pool: a selector matches it, its pod retains it, or it leaves when its pod ends",
  ],
  listed: [flag, "whether it is in the kubelet's list: a pool may have more devices than a list can hold"],
  allocation: [orNull(allocation), "the pod that has it"],
});

/** The running plugin. */
export const statusSchema = object({
  version: [text, "of the plugin"],
  commit: [text, "the commit that it was built from"],
  pid: [count, "its process"],
  started: [time, "when it started"],
  mode: [
    orNull(oneOf("watcher", "legacy")),
    "how it registers with the kubelet; null until the kubelet's folders exist",
  ],
  ready: [flag, "whether the initial scan is complete"],
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
        pod: [
          text,
          "the pod; `claim NAMESPACE/NAME` for one of DRA; `another plugin` while another plugin on the node offers the device",
        ],
        kind: [
          oneOf("retained", "withheld"),
          "`retained`: it is in its pod's pool, Unhealthy; `withheld`: it is in no pool",
        ],
        nextPool: [orNull(text), "the pool that it moves to when the pod ends"],
      }),
    ),
    "devices that pods keep out of their new pools",
  ],
  dra: [
    orNull(
      object({
        driver: [text, "its name"],
        node: [text, "the Node that its ResourceSlices belong to"],
        publication: [
          object({
            mode: [
              oneOf(...publisherModes),
              "`standby`: a newer instance publishes; `withdrawn`: a device plugin still offers the devices",
            ],
            reason: [orNull(text), "the newer instance that it is on standby for"],
            isCurrent: [flag, "whether the API server has every device as it is"],
            problem: [orNull(text), "what does not work, and what to do"],
            writes: [
              object({
                create: [count, "ResourceSlices that were created"],
                update: [count, "that were updated"],
                delete: [count, "that were deleted"],
                repair: [count, "of these writes restored what another client had changed"],
                failed: [count, "writes that failed"],
              }),
              "since the start",
            ],
          }),
          "the writing of ResourceSlices",
        ],
        published: [
          orNull(
            object({
              slices: [count, "ResourceSlices"],
              devices: [count, "devices in them"],
              tainted: [count, "of them with a taint"],
            }),
          ),
          "what the API server has; null before it was read",
        ],
        claims: [count, "claims that are prepared"],
        devicePlugin: [
          texts,
          "resources as which a device plugin still offers the devices; none is published meanwhile",
        ],
        heldByDevicePlugin: [
          listOf(object({ id: [text, "a device"], pod: [text, "the pod that has it from a device plugin"] })),
          "devices that are free for claims when their pods end",
        ],
      }),
    ),
    "the DRA driver; null with --allocator=device-plugin",
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
