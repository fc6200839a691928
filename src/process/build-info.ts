// Which build is this? Stamped in by scripts/build/executable.ts.

declare const SRIOVDP_VERSION: string | undefined;
declare const SRIOVDP_COMMIT: string | undefined;

/** The version of package.json; "dev" when run from source. */
export const version: string = typeof SRIOVDP_VERSION === "string" ? SRIOVDP_VERSION : "dev";

/** The commit it was built from, with "-dirty" when the tree had changes; "unknown" outside a checkout. */
export const commit: string = typeof SRIOVDP_COMMIT === "string" ? SRIOVDP_COMMIT : "unknown";
