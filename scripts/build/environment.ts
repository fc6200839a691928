// In which environment is the executable delivered? Settings of Bun that can only be made from outside, by the image and the unit;
// docs/reference/performance.md has what each gives. Without them everything works, with more CPU.

export const environment = {
  // No code is hot enough for JavaScriptCore's last compiler to pay: its thread competes with the call that waits.
  BUN_JSC_useFTLJIT: "0",
  // Code is compiled after half as many calls as by default, so that a burst of calls meets less compiling.
  BUN_JSC_jitPolicyScale: "0.5",
  // Bun collects garbage once a second as long as anything moves on, and something always does: an open connection. JavaScriptCore
  // collects when there is something to collect, and the plugin releases memory by itself when it is idle (src/process/idle-memory.ts).
  BUN_GC_TIMER_DISABLE: "1",
  // The allocator's thread wakes whenever Bun does.
  MIMALLOC_SCAVENGER: "0",
} as const;

/** The settings as "NAME=VALUE". */
export const settings: readonly string[] = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
