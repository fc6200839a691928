// Which devices do claims have, and for which pods? In the form that assignment, status and logs use.

import type { ClaimRecord } from "../allocation/claim.ts";
import type { AllocatedDevice } from "../pools/decide-allocations.ts";
import type { Holder } from "./role.ts";

/** The holder of each device that is prepared, by id; under the resource that it was prepared as, or under `resource` where one is given. */
export const holdersOf = (records: readonly ClaimRecord[], resource: string | null = null): Map<string, Holder> =>
  new Map(
    records.flatMap((record) =>
      record.devices.map((device) => [device.id, { resource: resource ?? device.resource, pod: podOf(record) }]),
    ),
  );

/** "NAMESPACE/POD" of the first pod that a claim was reserved for when it was prepared; without one the claim itself. */
const podOf = ({ namespace, name, pods: [pod] }: ClaimRecord): string =>
  pod === undefined ? `claim ${namespace}/${name}` : `${namespace}/${pod}`;

/** The devices that are prepared, as allocations to the pods of the claims. */
export const allocationsOf = (records: readonly ClaimRecord[]): AllocatedDevice[] =>
  records.flatMap((record) =>
    record.devices.map(({ resource, id }) => ({
      resource,
      id,
      pod: podOf(record),
      container: "",
      evidence: "prepared claim" as const,
      uid: record.uid,
      namedAt: null,
    })),
  );
