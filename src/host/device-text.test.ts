import { expect, test } from "bun:test";
import { aDevice, aParent, aPf } from "../../test/support/device.ts";
import { decodeDevices, encodeDevices } from "./device-text.ts";

test("devices are what they were, and share what they shared", () => {
  const [one, other] = [aParent(), aParent({ interfaceName: "ens2f0" })];
  const devices = [
    aPf(),
    aDevice({ id: "0000:3b:02.0", pf: one }),
    aDevice({ id: "0000:3b:02.1", pf: one }),
    aDevice({ id: "0000:5e:02.0", pf: other }),
  ];
  const decoded = decodeDevices(encodeDevices(devices));
  expect(decoded).toEqual(devices);
  expect(decoded[1]?.pf === decoded[2]?.pf).toBeTrue();
  expect(decoded[1]?.pf === decoded[3]?.pf).toBeFalse();
  expect(decodeDevices(encodeDevices([]))).toEqual([]);
});
