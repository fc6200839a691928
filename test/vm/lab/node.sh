# The root disk of a Kubernetes node: the guest's root with containerd, runc and the genuine kubelet. Sourced by make.sh.
# Results: $lab/node/node.ext4, and $lab/node-containerd-2/node.ext4. The configuration of kubelet and containerd is the tests' (test/vm/guest/node.ts, containerd.ts).

make_pause() {
  local chroot="$lab/kernel/build"
  cp "$here/pause.c" "$chroot/build/"
  chroot "$chroot" gcc -O2 -Wall -Werror -static -s -o /build/pause /build/pause.c
  mv "$chroot/build/pause" "$out/"
}

make_node() { node_disk "$lab/tools/usr/bin"; }
make_node_containerd_2() { node_disk "$lab/containerd-2"; }

# node_disk CONTAINERD: the disk, with containerd's programs from this folder
node_disk() {
  local root="$out/root"
  mkdir "$root"
  cp -a "$lab/base/root/." "$root/"
  node_programs "$root" "$1"
  node_images "$root"
  install -m 755 "$lab/kubernetes/kubernetes" "$root/usr/bin/kubelet"
  mkdir -p "$root"/{payload,etc/containerd,etc/kubernetes/manifests,var/lib/kubelet,var/log,opt/cni/bin,etc/cni/net.d,etc/cdi}
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
  printf '127.0.0.1 localhost lab\n' >"$root/etc/hosts"
  printf 'ID=lab\nNAME=lab\nPRETTY_NAME=lab\n' >"$root/etc/os-release" # cadvisor reads it
  printf '11111111111111111111111111111111\n' >"$root/etc/machine-id"
  : >"$root/etc/resolv.conf"
  ln -s ../run "$root/var/run"
  : >"$root/on-disk" # shows init that it has switched to the disk
  truncate -s 1500M "$out/node.ext4"
  tool mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -E root_owner=0:0 -d "$root" "$out/node.ext4"
  rm -rf "$root"
}

node_programs() {
  local root=$1 containerd=$2 lib="usr/lib/x86_64-linux-gnu" name path files=()
  for path in "$containerd"/{containerd,containerd-shim-runc-v2,ctr} "$lab/tools/usr/bin"/{runc,mount,umount}; do
    name=${path##*/}
    rm -f "$root/usr/sbin/$name" # busybox's
    cp "$(readlink -f "$path")" "$root/usr/bin/$name"
    files+=("$root/usr/bin/$name")
  done
  cp "$lab/tools/usr/sbin/xtables-nft-multi" "$root/usr/bin/"
  cp -r "$lab/tools/$lib/xtables" "$root/$lib/"
  files+=("$root/usr/bin/xtables-nft-multi" "$root/$lib"/xtables/*.so)
  for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -sf xtables-nft-multi "$root/usr/bin/$name"
  done
  cp -Ln $(libraries "${files[@]}") "$root/$lib/"
}

node_images() {
  local root=$1 content="$out/image" applet
  mkdir -p "$root/images" "$content/pause" "$content/busybox/bin"
  cp "$lab/pause/pause" "$content/pause/pause"
  image "$root/images/pause.tar" lab.local/pause:1 "$content/pause" /pause
  cp "$lab/tools/usr/bin/busybox" "$content/busybox/bin/"
  for applet in $("$content/busybox/bin/busybox" --list | grep -vx busybox); do ln -s busybox "$content/busybox/bin/$applet"; done
  image "$root/images/busybox.tar" lab.local/busybox:1 "$content/busybox" /bin/sh
  rm -rf "$content"
}
