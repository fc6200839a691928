import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { podUidOf, readPodCgroups } from "./pod-cgroups.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(`${tmpdir()}/cgroups-`);
});
afterEach(() => rmSync(root, { recursive: true }));

const make = (...paths: string[]) => {
  for (const path of paths) mkdirSync(`${root}/sys/fs/cgroup/${path}`, { recursive: true });
};
const pods = () => [...(readPodCgroups(root) ?? [])].toSorted();

const uid = "0f2ab3c4-1111-2222-3333-444455556666";
const other = "9e8d7c6b-aaaa-bbbb-cccc-ddddeeeeffff";
const escaped = (each: string) => each.replaceAll("-", "_");
/** What a static pod has: the hash of its manifest. */
const hash = "1ab0ec2c74bcf6fbb1b7a3e6a4f0d8d2";

describe("pods are found by their cgroups", () => {
  test.each<[string, readonly string[]]>([
    [
      "under the systemd driver",
      [
        `kubepods.slice/kubepods-pod${escaped(uid)}.slice/cri-containerd-0123.scope`,
        `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${hash}.slice`,
        `kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${escaped(other)}.slice/crio-0123.scope`,
        "system.slice/containerd.service",
      ],
    ],
    [
      "under the cgroupfs driver",
      [`kubepods/pod${uid}/0123`, `kubepods/burstable/pod${hash}`, `kubepods/besteffort/pod${other}`, "system.slice"],
    ],
    [
      "in any hierarchy of cgroup v1",
      [
        `memory/kubepods/pod${uid}`,
        `pids/kubepods/burstable/pod${hash}`,
        `systemd/kubepods/besteffort/pod${other}`,
        "unified",
      ],
    ],
    [
      "under kubelet --cgroup-root, as in kind",
      [
        `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${escaped(uid)}.slice`,
        `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${hash}.slice`,
        `kubelet/kubepods/besteffort/pod${other}`,
      ],
    ],
    [
      "of a kubelet in a container, in a user's slice",
      [
        `system.slice/docker-0123.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${escaped(uid)}.slice`,
        `user.slice/user-1000.slice/user@1000.service/user.slice/k3s.scope/kubepods/burstable/pod${hash}`,
        `system.slice/k3s.service/kubepods/besteffort/pod${other}`,
      ],
    ],
  ])("%s", (_, paths) => {
    make(...paths);
    expect(pods()).toEqual([uid, hash, other].toSorted());
  });

  test("by the mount of the manifest before the container's own subtree", () => {
    make("kubepods/podgone");
    mkdirSync(`${root}/host/sys/fs/cgroup/kubepods.slice/kubepods-pod${escaped(uid)}.slice`, { recursive: true });
    expect(pods()).toEqual([uid]);
  });

  test("and a kubelet without pods has none", () => {
    make("kubepods.slice/kubepods-burstable.slice");
    expect(readPodCgroups(root)).toEqual(new Set());
  });
});

test("where no kubepods is visible nothing is known", () => {
  expect(readPodCgroups(root)).toBeNull();
  make("system.slice/kubelet.service", "init.scope");
  expect(readPodCgroups(root)).toBeNull();
});

test("links are not followed, and a tree without an end is left", () => {
  make("a");
  symlinkSync("..", `${root}/sys/fs/cgroup/a/loop`);
  symlinkSync("kubepods-elsewhere", `${root}/sys/fs/cgroup/kubepods`);
  make(`${"deep/".repeat(30)}kubepods`);
  expect(readPodCgroups(root)).toBeNull();
});

test.each([
  ["pod1234", "1234"],
  [`pod${uid}`, uid],
  [`kubepods-burstable-pod${escaped(uid)}.slice`, uid],
  [`foo-bar-kubepods-pod${escaped(uid)}.slice`, uid],
  ["burstable", null],
  ["kubepods-burstable.slice", null],
  ["system.slice", null],
  ["pod", null],
  ["", null],
])("%p names the pod %p", (name, found) => {
  expect(podUidOf(name)).toBe(found);
});
