// What does the kubelet hear when it asks about a pool's devices? Answers from the pool as it is served now, and from what
// the node says of the devices asked for at this moment; they never wait for the loop.

import { allocate, type CdiContext, refuseIds } from "../allocation/allocate.ts";
import { preferredDevices, refusePreferred } from "../allocation/preferred.ts";
import type { Cdi } from "./cdi-specs.ts";
import type { DeviceInfo } from "./device-info-retention.ts";
import type { AllocationFacts } from "../host/allocation-facts.ts";
import type {
  AllocateRequest,
  AllocateResponse,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
} from "../kubelet/api/deviceplugin.ts";
import { status, StatusError } from "../kubelet/grpc/status.ts";
import { messageOf } from "../text.ts";
import type { Claim, Pool, PoolSpec } from "../pools/pool.ts";

/** What an answer to Allocate needs and leaves on the node. */
export interface AllocateContext {
  /** Reads by which nodes a device is used now. */
  readonly allocationFactsOf: (claim: Claim, spec: PoolSpec) => AllocationFacts;
  readonly deviceInfo: DeviceInfo;
  /** null: devices are handed out by their nodes. */
  readonly cdi: Cdi | null;
}

/**
 * Answers Allocate; the device-info files, and the CDI spec, are on the node before. Throws StatusError: INVALID_ARGUMENT
 * for ids that are not the pool's, empty or repeated, INTERNAL when a file can't be written.
 */
export function handleAllocate(pool: Pool, request: AllocateRequest, means: AllocateContext): AllocateResponse {
  const asked = request.containerRequests.map(({ devicesIds }) => devicesIds);
  // Each container's ids, and all together: two containers can't have the same device.
  const refusal = [...asked, ...(asked.length > 1 ? [asked.flat()] : [])]
    .map((ids) => refuseIds(pool, ids))
    .find((each) => each !== null);
  if (refusal) throw new StatusError(status.INVALID_ARGUMENT, refusal);
  const handles = new Map<string, AllocationFacts>();
  for (const id of asked.flat()) {
    const claim = pool.claims.get(id);
    if (claim) handles.set(id, means.allocationFactsOf(claim, pool.spec));
  }
  const cdi = means.cdi && prepareCdi(means.cdi, pool, handles);
  const answers = asked.map((ids) => allocate(pool, ids, handles, cdi));
  try {
    for (const { files } of answers) means.deviceInfo.write(files);
  } catch (error) {
    throw new StatusError(
      status.INTERNAL,
      `the device-info file can't be written, so multus could not attach the device: ${messageOf(error)}`,
    );
  }
  return { containerResponses: answers.map(({ answer }) => ({ ...answer, mounts: [] })) };
}

function prepareCdi(cdi: Cdi, pool: Pool, handles: ReadonlyMap<string, AllocationFacts>): CdiContext {
  try {
    return cdi.prepareForAllocate(pool, handles);
  } catch (error) {
    throw new StatusError(
      status.INTERNAL,
      `the pool's CDI spec can't be written, so the container would get other device nodes: ${messageOf(error)}`,
    );
  }
}

/**
 * Says which devices the kubelet should take. A pool that the config just took the option from has no preference. Throws
 * StatusError INVALID_ARGUMENT for a question that contradicts itself.
 */
export function handlePreferred(
  pool: Pool,
  { containerRequests }: PreferredAllocationRequest,
): PreferredAllocationResponse {
  const { resource, preferredAllocation } = pool.spec;
  if (preferredAllocation === null) return { containerResponses: [] };
  const asked = containerRequests.map(({ availableDeviceIDs, mustIncludeDeviceIDs, allocationSize }) => ({
    available: availableDeviceIDs,
    mustInclude: mustIncludeDeviceIDs,
    size: allocationSize,
  }));
  const refusal = asked.map((each) => refusePreferred(resource, each)).find((each) => each !== null);
  if (refusal) throw new StatusError(status.INVALID_ARGUMENT, refusal);
  return {
    containerResponses: asked.map((each) => ({ deviceIDs: preferredDevices(pool, preferredAllocation, each) })),
  };
}
