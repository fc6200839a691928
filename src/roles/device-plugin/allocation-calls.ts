// What is the answer to Allocate and GetPreferredAllocation? It comes from the pool as it is served now, and from what the node has of the
// requested devices at this moment; it never waits for the loop.

import {
  allocate,
  type CdiContext,
  type PreparedDevice,
  prepareDevices,
  refuseIds,
} from "../../allocation/allocate.ts";
import { preferredDevices, refusePreferred } from "../../allocation/preferred.ts";
import type { CdiSpecs } from "./cdi-specs.ts";
import { readClaimFacts } from "../claim-facts.ts";
import type { DeviceInfo } from "./device-info-retention.ts";
import type { AllocationFacts } from "../../host/allocation-facts.ts";
import type {
  AllocateRequest,
  AllocateResponse,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
} from "../../kubelet/api/deviceplugin.ts";
import { status, StatusError } from "../../kubelet/grpc/status-error.ts";
import { messageOf } from "../../text.ts";
import type { Pool, PoolSpec } from "../../pools/pool.ts";

/** What an answer to Allocate needs and leaves on the node. */
export interface AllocateContext {
  /** Goes before every path of the node. */
  readonly root: string;
  readonly deviceInfo: DeviceInfo;
  /** null: devices are handed out by their nodes. */
  readonly cdi: CdiSpecs | null;
}

/**
 * Answers Allocate; the device-info files, and the CDI spec, are on the node before. Throws StatusError: INVALID_ARGUMENT
 * for ids that are not the pool's, empty or repeated, INTERNAL when a file can't be written.
 */
export function handleAllocate(pool: Pool, request: AllocateRequest, context: AllocateContext): AllocateResponse {
  const requested = request.containerRequests.map(({ devicesIds }) => devicesIds);
  // Each container's ids, and all together: two containers can't have the same device.
  const refusal = [...requested, ...(requested.length > 1 ? [requested.flat()] : [])]
    .map((ids) => refuseIds(pool, ids))
    .find((each) => each !== null);
  if (refusal) throw new StatusError(status.INVALID_ARGUMENT, refusal);
  const facts = new Map<string, AllocationFacts>();
  for (const id of requested.flat()) {
    const claim = pool.claims.get(id);
    if (claim) facts.set(id, readClaimFacts(context.root, claim, pool.spec));
  }
  const prepared = prepareDevices(pool, facts);
  const cdi = context.cdi && prepareCdi(context.cdi, pool.spec, prepared);
  const answers = requested.map((ids) => allocate(pool.spec, ids, prepared, cdi));
  try {
    for (const { files } of answers) context.deviceInfo.write(files);
  } catch (error) {
    throw new StatusError(
      status.INTERNAL,
      `the device-info file can't be written, so multus could not attach the device: ${messageOf(error)}`,
    );
  }
  return { containerResponses: answers.map(({ answer }) => ({ ...answer, mounts: [] })) };
}

function prepareCdi(cdi: CdiSpecs, spec: PoolSpec, prepared: ReadonlyMap<string, PreparedDevice>): CdiContext {
  try {
    return cdi.prepareForAllocate(spec, prepared);
  } catch (error) {
    throw new StatusError(
      status.INTERNAL,
      `cannot write the pool's CDI spec, so the container would get other device nodes: ${messageOf(error)}`,
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
  const requests = containerRequests.map(({ availableDeviceIDs, mustIncludeDeviceIDs, allocationSize }) => ({
    available: availableDeviceIDs,
    mustInclude: mustIncludeDeviceIDs,
    size: allocationSize,
  }));
  const refusal = requests.map((each) => refusePreferred(resource, each)).find((each) => each !== null);
  if (refusal) throw new StatusError(status.INVALID_ARGUMENT, refusal);
  return {
    containerResponses: requests.map((each) => ({ deviceIDs: preferredDevices(pool, preferredAllocation, each) })),
  };
}
