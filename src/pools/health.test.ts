import { expect, test } from "bun:test";
import { aClaim, aCharDevice, aDevice, aLink, aPf, aSubFunction, pciAddress } from "../../test/support/device.ts";
import type { Device, LinkState } from "../host/device.ts";
import { unhealthiness } from "./health.ts";

const below = (link: LinkState | null, vfLinkState: Device["vfLinkState"] = "auto") =>
  aDevice({ vfLinkState, pf: { address: pciAddress("0000:3b:00.0"), interfaceName: "ens1f0", link } });
const vfio = (present: boolean) => ({
  group: "12",
  noIommu: false,
  node: aCharDevice("/dev/vfio/12", present),
  cdev: null,
});
const vdpa = (present: boolean) =>
  ({ name: "vdpa0", type: "vhost", node: aCharDevice("/dev/vhost-vdpa-0", present) }) as const;
const why = (device: Device, linkHealth = true) => unhealthiness(aClaim(device), { linkHealth });

test.each<[string, Device]>([
  ["a VF whose PF is up", below(aLink())],
  ["a VF whose PF's state is unknown", below(aLink({ operstate: "unknown" }))],
  ["a VF whose PF is dormant", below(aLink({ operstate: "dormant" }))],
  ["a VF whose PF has no visible interface", below(null)],
  ["a VF without a policy below a PF that is up", below(aLink(), null)],
  [
    "a VF whose policy is enable below a PF that is down",
    below(aLink({ adminUp: false, operstate: "down" }), "enable"),
  ],
  ["a VF whose own interface is down while nobody uses it", { ...below(aLink()), link: aLink({ adminUp: false }) }],
  ["a VF whose own interface has no carrier", { ...below(aLink()), link: aLink({ carrier: false }) }],
  ["a VF whose own interface is in a pod", { ...below(aLink()), link: null, interfaces: [] }],
  ["a PF with carrier", aPf()],
  ["a PF that nobody set up", aPf({ link: aLink({ adminUp: false, carrier: false }) })],
  ["a PF whose carrier is unknown", aPf({ link: aLink({ carrier: null }) })],
  ["a PF whose interface is in a pod", aPf({ link: null })],
  ["a VFIO device with its node", aDevice({ driver: "vfio-pci", vfio: vfio(true) })],
  ["a VFIO device without an IOMMU group", aDevice({ vfio: { ...vfio(true), group: null, node: null } })],
  ["a vDPA device with its node", aDevice({ vdpa: vdpa(true) })],
  ["a virtio vDPA device, which has no node", aDevice({ vdpa: { name: "vdpa0", type: "virtio", node: null } })],
  ["a UIO device with its node", aDevice({ uio: aCharDevice("/dev/uio0") })],
])("%s is healthy", (_, device) => {
  expect(why(device)).toBeNull();
});

test.each<[string, Device, string]>([
  ["a VF whose policy is disable", below(aLink(), "disable"), "set to disable"],
  ["a VF whose PF is down", below(aLink({ operstate: "down" })), "the link of its PF ens1f0 is down"],
  ["a VF whose PF's lower layer is down", below(aLink({ operstate: "lowerlayerdown" })), "lowerlayerdown"],
  ["a VF whose PF is administratively down", below(aLink({ adminUp: false })), "administratively down"],
  ["a VF without a policy below a PF that is down", below(aLink({ operstate: "down" }), null), "is down"],
  [
    "a sub-function whose PF is down",
    aSubFunction({
      pf: { address: pciAddress("0000:08:00.0"), interfaceName: "p0", link: aLink({ operstate: "down" }) },
    }),
    "is down",
  ],
  ["a PF that is up without carrier", aPf({ link: aLink({ carrier: false }) }), "ens1f0 has no carrier"],
])("%s is not healthy, unless the link part is off", (_, device, reason) => {
  expect(why(device)).toContain(reason);
  expect(why(device, false)).toBeNull();
});

test.each<[string, Device, string]>([
  ["its driver", aDevice({ driver: null }), "no driver"],
  ["its VFIO group's node", aDevice({ vfio: vfio(false) }), "/dev/vfio/12 is gone"],
  ["its UIO node", aDevice({ uio: aCharDevice("/dev/uio0", false) }), "/dev/uio0 is gone"],
  ["its vhost-vdpa node", aDevice({ vdpa: vdpa(false) }), "/dev/vhost-vdpa-0 is gone"],
])("a device without %s is not healthy, whether links count or not", (_, device, reason) => {
  expect(why(device)).toContain(reason);
  expect(why(device, false)).toContain(reason);
});
