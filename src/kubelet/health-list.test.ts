import { describe, expect, test } from "bun:test";
import { DeviceHealth, NodeWatchResourcesResponse } from "./api/drahealth.ts";
import { NodeWatchResourcesResponse as EarlierResponse } from "./api/drahealthv1alpha1.ts";
import { type DeviceState, healthMessages, sameStates } from "./health-list.ts";

const aState = (index: number, unhealthy: string | null = null): DeviceState => ({
  pool: "node-a/0000-3b-00.0",
  device: `0000-3b-02-${index}`,
  unhealthy,
});

describe("the messages about health", () => {
  test("have each device with its reason, the time in seconds and the timeout", () => {
    expect(healthMessages([aState(0), aState(1, "its link is down")], 1_764_324_000_900, 60)).toEqual([
      {
        devices: [
          {
            device: { poolName: "node-a/0000-3b-00.0", deviceName: "0000-3b-02-0" },
            health: 1,
            lastUpdatedTime: 1_764_324_000,
            healthCheckTimeoutSeconds: 60,
            message: "",
          },
          {
            device: { poolName: "node-a/0000-3b-00.0", deviceName: "0000-3b-02-1" },
            health: 2,
            lastUpdatedTime: 1_764_324_000,
            healthCheckTimeoutSeconds: 60,
            message: "its link is down",
          },
        ],
      },
    ]);
  });

  test("of no device are one without devices", () => expect(healthMessages([], 0, 60)).toEqual([{ devices: [] }]));

  test("are no longer than the kubelet shows, and well-formed where they are cut", () => {
    const [{ devices: [device] = [] } = {}] = healthMessages([aState(0, "😀".repeat(2000).slice(1))], 0, 60);
    expect(device?.message.length).toBe(1024);
    expect(device?.message.isWellFormed()).toBe(true);
    if (device) expect(DeviceHealth.decode(DeviceHealth.encode(device).finish())).toEqual(device);
  });

  test("are several where there are many devices, each of a size that the transport takes; none is lost", () => {
    const states = Array.from({ length: 5000 }, (_, index) => aState(index, index % 2 === 0 ? "ü".repeat(50) : null));
    const messages = healthMessages(states, Date.now(), 60);
    const sizes = messages.map((message) => NodeWatchResourcesResponse.encode(message).finish().length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(100_000);
    expect(messages.length).toBeLessThan(12);
    expect(messages.flatMap(({ devices }) => devices.map(({ device }) => device?.deviceName))).toEqual(
      states.map(({ device }) => device),
    );
  });

  test("have every device even where one alone is too large", () => {
    expect(healthMessages([aState(0), aState(1), aState(2)], 0, 60, 1).map(({ devices }) => devices.length)).toEqual([
      1, 1, 1,
    ]);
  });

  // Kubelets before 1.37 are answered by the same handler.
  test("are the same bytes in v1 and v1alpha1", () => {
    const [message = { devices: [] }] = healthMessages([aState(0), aState(1, "its link is down")], Date.now(), 60);
    const bytes = NodeWatchResourcesResponse.encode(message).finish();
    expect(EarlierResponse.encode(message).finish()).toEqual(bytes);
    for (let length = 0; length < bytes.length; length++) {
      try {
        NodeWatchResourcesResponse.decode(bytes.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }
  });
});

test("lists are the same when they say the same in the same order", () => {
  const list = [aState(0), aState(1, "down")];
  expect(sameStates(list, [aState(0), aState(1, "down")])).toBe(true);
  expect(sameStates(list, list.toReversed())).toBe(false);
  expect(sameStates(list, list.slice(1))).toBe(false);
  expect(sameStates(list, [aState(0), aState(1)])).toBe(false);
  expect(sameStates(list, [aState(0), { ...aState(1, "down"), pool: "node-a/other" }])).toBe(false);
});
