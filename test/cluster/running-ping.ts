// A ping that runs in one pod to another while something happens to the node.

import { expect } from "bun:test";
import { kubectl, waitFor } from "./cluster.ts";
import { addressOf } from "./plugin.ts";

/** Starts to ping one pod from another by their second interfaces, once a second. */
export async function startPing(from: string, to: string): Promise<void> {
  const address = await addressOf(to);
  await kubectl("exec", from, "--", "sh", "-c", `ping -I net1 ${address} >/tmp/ping 2>&1 & echo $! >/tmp/ping.pid`);
}

/** Ends it, and expects that no answer was missing. */
export async function expectUnbrokenPing(from: string): Promise<void> {
  await kubectl("exec", from, "--", "sh", "-c", "kill -INT $(cat /tmp/ping.pid)");
  const printed = await waitFor("ping ends", async () => {
    const text = await kubectl("exec", from, "--", "cat", "/tmp/ping");
    return text.includes("packet loss") && text;
  });
  // The last one may be under way when ping ends.
  const answered = [...printed.matchAll(/ seq=(\d+) /g)].map(([, number]) => Number(number));
  expect(answered.length).toBeGreaterThan(5);
  expect(answered).toEqual(answered.map((_, index) => index));
}
