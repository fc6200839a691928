// Which instance of the plugin wrote a slice? Two run on a node while one replaces the other, perhaps with another config: the newer
// one decides. Each write has its instance's stamp in an annotation. Pure.

import type { ResourceSlice } from "./resource-slice.ts";

/** An instance: when it began to publish, in milliseconds since 1970, and eight hexadecimal digits of its own. */
export interface InstanceStamp {
  readonly time: number;
  readonly id: string;
}

const form = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)-([0-9a-f]{8})$/;

/** The last time that the form can hold. */
const lastTime = Date.parse("9999-12-31T23:59:59.999Z");

const annotationOf = (driver: string): string => `${driver}/instance`;

/** The annotation of an instance's writes: "DRIVER/instance": "2026-11-28T12:34:56.789Z-0a1b2c3d". */
export const stampAnnotation = (driver: string, stamp: InstanceStamp): Record<string, string> => ({
  [annotationOf(driver)]: textOfStamp(stamp),
});

/** A stamp as it is written and logged. */
export const textOfStamp = ({ time, id }: InstanceStamp): string => `${new Date(time).toISOString()}-${id}`;

/** The instance that wrote a slice; null when that was none of ours. */
export function stampOf(slice: ResourceSlice, driver: string): InstanceStamp | null {
  const [, time = "", id = ""] = form.exec(slice.metadata.annotations?.[annotationOf(driver)] ?? "") ?? [];
  const parsed = Date.parse(time);
  return Number.isNaN(parsed) ? null : { time: parsed, id };
}

/** Whether `a` is newer than `b`. */
export const isNewerStamp = (a: InstanceStamp, b: InstanceStamp): boolean =>
  a.time > b.time || (a.time === b.time && a.id > b.id);

/** The stamp of an instance that begins now: newer than those of all slices, even when the clock was set back since. */
export function newStamp(found: readonly ResourceSlice[], driver: string, now: number, id: string): InstanceStamp {
  const after = found.map((slice) => (stampOf(slice, driver)?.time ?? 0) + 1);
  return { time: Math.min(Math.max(now, ...after), lastTime), id };
}
