# The guest's root as an initramfs: a handful of tools with their libraries, kernel modules, init. Sourced by make.sh.
# Result: $lab/base/root and $lab/base/root.cpio

# With what these depend on. Real NIC drivers are left out: no emulated NIC would use them.
base_modules="
  igb igbvf e1000e virtio_net virtio_blk 9p 9pnet_virtio ext4 overlay loop
  vfio-pci vfio_iommu_type1 uio_pci_generic vhost_net tun
  vdpa vhost_vdpa virtio_vdpa vduse
  rdma_rxe ib_uverbs ib_umad ib_ipoib rdma_ucm rdma_cm udp_tunnel ip6_udp_tunnel
  dummy veth bridge br_netfilter macvlan macvtap ipvlan 8021q bonding team team_mode_activebackup team_mode_loadbalance vrf vxlan openvswitch
  nf_tables nft_compat iptable_nat xt_conntrack xt_MASQUERADE xt_comment xt_mark xt_nat
  crc32_generic crc32c_generic crc32_pclmul crc32c_intel libcrc32c psample macsec"
base_tools="dash ip bridge tc devlink rdma vdpa ethtool lspci ibv_devinfo kmod ss nsenter unshare"

make_base() {
  local root="$out/root"
  mkdir -p "$root"/{proc,sys,dev,run,tmp,etc,root,mnt,var,newroot,share}
  merged_usr "$root"
  base_kernel_modules "$root"
  base_programs "$root"
  cp "$here/guest-init" "$root/init"
  (cd "$root" && find . | "$lab/tools/usr/bin/busybox" cpio -o -H newc -R 0:0) >"$out/root.cpio"
  # The payload is appended to it, and an archive within an initramfs begins at a multiple of 4.
  truncate -s %4 "$out/root.cpio"
}

base_kernel_modules() {
  local root=$1 version from to path
  version=$(cat "$lab/kernel/version")
  from="$lab/kernel/usr/lib/modules/$version"
  to="$root/usr/lib/modules/$version"
  mkdir -p "$to/updates"
  cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
  tool depmod -b "$lab/kernel/usr" "$version" 2>/dev/null || tool depmod -b "$lab/kernel" "$version"
  awk -v selected="$base_modules" '
    function name(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); gsub(/-/, "_", path); return path }
    { file = $1; sub(/:$/, "", file); $1 = ""; files[name(file)] = file; needs[name(file)] = $0 }
    END {
      count = split(selected, names, " ")
      for (i = 1; i <= count; i++) {
        module = name(names[i])
        if (!(module in files)) { print "no kernel module " module > "/dev/stderr"; failed = 1; continue }
        print files[module] needs[module]
      }
      exit failed
    }' "$from/modules.dep" | tr -s ' ' '\n' | sort -u >"$out/modules.list"
  while read -r path; do
    mkdir -p "$to/$(dirname "$path")"
    case $path in
      *.xz) tool xz -dc "$from/$path" >"$to/${path%.xz}" ;;
      *) cp "$from/$path" "$to/$path" ;;
    esac
  done <"$out/modules.list"
  # depmod prefers what lies in updates/ to a module of the same name elsewhere (vfio, rdma_rxe, vringh).
  cp "$lab"/modules/*.ko "$to/updates/"
  tool depmod -b "$root" "$version"
}

base_programs() {
  local root=$1 lib="usr/lib/x86_64-linux-gnu" name file applet files=()
  # modprobe and its like are names of kmod. The kernel runs /sbin/modprobe.
  for name in modprobe insmod rmmod lsmod modinfo depmod; do ln -s ../bin/kmod "$root/usr/sbin/$name"; done
  for name in $base_tools; do
    file=$(readlink -f "$lab/tools/usr/sbin/$name" || true)
    [ -f "$file" ] || file=$(readlink -f "$lab/tools/usr/bin/$name")
    cp "$file" "$root/usr/bin/$name"
    files+=("$file")
  done
  ln -s dash "$root/usr/bin/sh"
  # busybox's applets give way to the real tools: it is only there for what these lack.
  cp "$lab/tools/usr/bin/busybox" "$root/usr/bin/busybox"
  for applet in $("$root/usr/bin/busybox" --list); do
    [ -e "$root/usr/bin/$applet" ] || [ -L "$root/usr/sbin/$applet" ] || ln -s ../bin/busybox "$root/usr/sbin/$applet"
  done
  mkdir -p "$root/$lib"
  cp -r "$lab/tools/$lib/libibverbs" "$root/$lib/"
  cp -r "$lab/tools/etc/libibverbs.d" "$root/etc/"
  files+=("$lab/tools/$lib"/libibverbs/*.so)
  cp -L $(libraries "${files[@]}") "$root/$lib/"
  # An executable compiled by Bun needs these too; most are stubs of glibc by now.
  for name in libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1; do cp -L "$lab/tools/$lib/$name" "$root/$lib/"; done
  cp -L "$lab/tools/lib64/ld-linux-x86-64.so.2" "$root/usr/lib64/"
}
