import { describe, expect, test } from "bun:test";
import { replay } from "../../test/netlink/replay.ts";
import { terminated, u32Bytes } from "../bytes.ts";
import { SystemError } from "../libc.ts";
import { type Attribute, encodeAttributes, encodeMessage, NetlinkFormatError } from "./message.ts";
import { decodeRdmaContexts, readRdmaContexts, readRdmaDevices, readRdmaNamespaceMode } from "./rdma.ts";

const answer = (attributes: readonly Attribute[], flags: number, type = 0x1401): Uint8Array =>
  encodeMessage({ type, flags, sequence: 0, port: 0, payload: encodeAttributes(attributes) });
const done = encodeMessage({ type: 3, flags: 2, sequence: 0, port: 0, payload: new Uint8Array(4) });

test("devices have index, name and protocol, without a header before the attributes", () => {
  const device = (index: number, name: string): Attribute[] => [
    { type: 1, data: u32Bytes(index) },
    { type: 2, data: terminated(name) },
  ];
  const roce = answer([...device(0, "mlx5_0"), { type: 67, data: terminated("roce") }], 2);
  const old = answer(device(3, "mlx4_0"), 2);
  expect(readRdmaDevices(replay([[roce, old, done]]))).toEqual([
    { index: 0, name: "mlx5_0", protocol: "roce" },
    { index: 3, name: "mlx4_0", protocol: null },
  ]);
});

test("the namespace mode is shared, exclusive, or unknown to an old kernel", () => {
  const mode = (attributes: readonly Attribute[]) => readRdmaNamespaceMode(replay([[answer(attributes, 0, 0x1406)]]));
  expect(mode([{ type: 66, data: new Uint8Array([1]) }])).toBe("shared");
  expect(mode([{ type: 66, data: new Uint8Array([0]) }])).toBe("exclusive");
  expect(mode([])).toBeNull();
});

describe("user contexts", () => {
  const u64 = (value: number) => new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);
  const entry = (name: string, count: number): Attribute => ({
    type: 16,
    data: encodeAttributes([
      { type: 17, data: terminated(name) },
      { type: 18, data: u64(count) },
    ]),
  });
  const summary = (name: string, ...entries: readonly Attribute[]): Attribute[] => [
    { type: 1, data: u32Bytes(0) },
    { type: 2, data: terminated(name) },
    { type: 15, data: encodeAttributes(entries) },
  ];

  test("are counted by device, if the kernel reports it", () => {
    const answers = [
      answer(summary("mlx5_0", entry("pd", 3), entry("ctx", 2)), 2, 0x1409),
      answer(summary("mlx5_1", entry("ctx", 0)), 2, 0x1409),
      answer(summary("old", entry("pd", 1)), 2, 0x1409),
      done,
    ];
    expect(readRdmaContexts(replay([answers]))).toEqual(
      new Map([
        ["mlx5_0", 2],
        ["mlx5_1", 0],
      ]),
    );
  });

  test("of an answer that was cut anywhere are an error, or none", () => {
    const whole = encodeAttributes(summary("mlx5_0", entry("pd", 3), entry("ctx", 2)));
    for (let length = 0; length < whole.length; length++) {
      let found: unknown = null;
      try {
        found = decodeRdmaContexts(whole.subarray(0, length));
      } catch (error) {
        expect(error).toBeInstanceOf(NetlinkFormatError);
      }
      expect(found).toBeNull();
    }
  });
});

test("a kernel without RDMA has neither devices nor mode", () => {
  const lacking = () => {
    throw new SystemError("socket", 93);
  };
  expect(readRdmaDevices(lacking)).toBeNull();
  expect(readRdmaNamespaceMode(lacking)).toBeNull();
  expect(readRdmaContexts(lacking)).toBeNull();
});

test("this kernel answers without an error", () => {
  expect([null, "shared", "exclusive"]).toContain(readRdmaNamespaceMode());
  const contexts = readRdmaContexts();
  expect(contexts === null || contexts instanceof Map).toBe(true);
  const devices = readRdmaDevices();
  expect(devices === null || Array.isArray(devices)).toBe(true);
});
