# What comes from Debian as it is: QEMU, the guest's tools, the kernel and what builds modules for it. Sourced by make.sh.

qemu_packages="qemu-system-x86"
tool_packages="busybox-static dash iproute2 ethtool rdma-core ibverbs-utils ibverbs-providers infiniband-diags kmod
  util-linux mount pciutils nftables iptables containerd runc xz-utils e2fsprogs"
build_packages="gcc make libc6-dev bash coreutils sed grep gawk findutils diffutils tar xz-utils kmod bc flex bison
  libelf-dev libssl-dev perl-base cpio patch python3-minimal hostname dash gzip debianutils util-linux zstd"

make_qemu() { closure $qemu_packages; }
make_tools() { closure $tool_packages; }

# Kernel image, headers and source are fetched in one step, since they must be of one version and the mirror keeps only
# the newest. Result: boot/ and usr/lib/modules/ of the image, build/ a chroot with the rest, and the file "version".
make_kernel() {
  local image version debs="$lab/debs" kernel="$out"
  apt_ready
  image=$(apt_private show linux-image-amd64 | awk -F': ' '/^Depends/{print $2; exit}' | tr ',' '\n' |
    sed 's/ *(.*//; s/^ *//' | grep -E '^linux-image-[0-9]' | head -1)
  version=${image#linux-image-}
  out="$kernel/build"
  mkdir "$out"
  closure "linux-headers-$version" "linux-source-${version%%.*}.$(cut -d. -f2 <<<"$version")" $build_packages
  # What the packages' own scripts would have set up.
  ln -sf dash "$out/usr/bin/sh"
  ln -sf gawk "$out/usr/bin/awk"
  mkdir -p "$out/tmp" "$out/dev" "$out/proc" "$out/build"
  mknod -m 666 "$out/dev/null" c 1 3
  out=$kernel
  # Only the image's own package: it depends on what makes an initramfs for a host.
  mkdir -p "$debs"
  (cd "$debs" && apt_private download "$image")
  dpkg-deb -x "$debs/$image"_*.deb "$out"
  rm -rf "$debs"
  printf '%s\n' "$version" >"$out/version"
  cp "$out/boot/vmlinuz-$version" "$out/vmlinuz"
}
