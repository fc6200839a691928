import { afterEach, beforeEach, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { host, removeTemporaryFolder, temporaryFolder } from "../../test/support/plugin.ts";
import { unpack } from "../../test/support/tree.ts";
import { scanNode } from "./scan.ts";

let root = "";
beforeEach(() => {
  root = temporaryFolder({ inMemory: true });
});
afterEach(() => removeTemporaryFolder(root));

const scan = () => scanNode(root, { ddpProfiles: false, enableRdma: false, vhostNet: false }, null);

test("a P_Key that can't be read costs that fact of that device, and is reported", async () => {
  unpack(host("infiniband-vfs"), root);
  const before = (await scan()).devices;
  const file = "sys/devices/pci0000:00/0000:17:01.0/infiniband/mlx5_1/ports/1/pkeys/0";
  writeFileSync(`${root}/${file}`, Uint8Array.of(0xff, 0xfe));
  const { devices, problems } = await scan();
  expect(devices).toEqual(before.map((device) => (device.id === "0000:17:01.0" ? { ...device, pKey: null } : device)));
  expect(problems.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^the P_Key of 0000:17:01.0 is skipped: .*not UTF-8$/),
  ]);
});

test("a vDPA device that can't be read costs that fact of that device, and is reported", async () => {
  unpack(host("vdpa-vhost"), root);
  const before = (await scan()).devices;
  const victim = before.find(({ vdpa }) => vdpa !== null);
  const link = `${root}/sys/bus/vdpa/devices/${victim?.vdpa?.name}`;
  rmSync(link);
  Bun.spawnSync(["ln", "-s", link, link]);
  const { devices, problems } = await scan();
  expect(devices.map(({ id, vdpa }) => [id, vdpa])).toEqual(
    before.map(({ id, vdpa }) => [id, id === victim?.id ? null : vdpa]),
  );
  expect(problems.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^vDPA device \S+ is skipped: .*ELOOP/),
  ]);
});

test("functions that come and go during a scan never take their neighbors with them", async () => {
  unpack(host("iavf-vfs"), root);
  const moving = "0000:3b:01.1";
  const before = (await scan()).devices.filter(({ id }) => id !== moving);
  const folder = `${root}/sys/devices/pci0000:00/${moving}`;
  const link = `${root}/sys/bus/pci/devices/${moving}`;
  const mover = Bun.spawn(
    [
      "sh",
      "-c",
      `while :; do mv ${folder} ${root}/away; mv ${link} ${root}/link; mv ${root}/link ${link}; mv ${root}/away ${folder}; done`,
    ],
    {
      stdio: ["ignore", "ignore", "ignore"],
    },
  );
  try {
    const found = new Set<boolean>();
    const end = performance.now() + 400;
    while (performance.now() < end) {
      const { devices } = await scan();
      found.add(devices.some(({ id }) => id === moving));
      expect(devices.filter(({ id }) => id !== moving)).toEqual(before);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(found).toEqual(new Set([true, false]));
  } finally {
    mover.kill("SIGKILL");
    await mover.exited;
  }
});
