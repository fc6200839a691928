# systemd as process 1 of the guest, for boots with init=systemd: an archive that is added to the initramfs. From Debian's package,
# without the services that a machine of its own would want. Sourced by make.sh. Result: $lab/systemd/root.cpio

make_systemd() {
  local root="$out/root" lib="usr/lib/x86_64-linux-gnu" units="usr/lib/systemd/system" name files=()
  mkdir -p "$root/$lib" "$root/etc" "$root/var" "$root/usr/bin"
  ln -s ../run "$root/var/run"
  merged_usr "$root"
  cp -a "$lab/tools/usr/lib/systemd" "$root/usr/lib/"
  rm -rf "$root/$units"/*.wants "$root"/usr/lib/systemd/{catalog,*-generators,network,user}
  # glibc's loader finds these by their runpath.
  cp -a "$lab/tools/$lib/systemd" "$root/$lib/"
  # udev is there, and off: it would give the guest's interfaces names of its own, were there rules that say so.
  mkdir -p "$root/usr/lib/udev/rules.d"
  cp "$lab/tools/usr/lib/udev/rules.d"/{75-net-description,80-net-setup-link,99-systemd}.rules "$root/usr/lib/udev/rules.d/"
  for name in systemctl systemd-analyze journalctl udevadm mount umount; do
    rm -f "$root/usr/bin/$name"
    cp "$lab/tools/usr/bin/$name" "$root/usr/bin/"
  done
  files=("$root"/usr/lib/systemd/{systemd,systemd-executor,systemd-journald} "$root"/usr/bin/{systemctl,systemd-analyze,journalctl,udevadm,mount,umount})
  cp -L $(libraries "${files[@]}" | grep -v '/systemd/libsystemd-') "$root/$lib/"
  # What it loads only when it needs it.
  for name in libkmod.so.2 liblz4.so.1 liblzma.so.5 libgcrypt.so.20; do [ ! -e "$lab/tools/$lib/$name" ] || cp -L "$lab/tools/$lib/$name" "$root/$lib/"; done
  printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\n' >"$root/etc/group"
  printf 'ID=lab\nNAME=lab\nPRETTY_NAME=lab\n' >"$root/etc/os-release"
  printf '11111111111111111111111111111111\n' >"$root/etc/machine-id"
  mkdir -p "$root/$units"/{default,sysinit,sockets}.target.wants
  ln -s ../systemd-journald.service "$root/$units/sysinit.target.wants/"
  ln -s ../systemd-journald.socket "$root/$units/sockets.target.wants/"
  ln -sf multi-user.target "$root/$units/default.target"
  mkdir -p "$root/$units/multi-user.target.wants"
  ln -s ../lab.service "$root/$units/multi-user.target.wants/"
  cat >"$root/$units/lab.service" <<'UNIT'
[Unit]
Description=the rest of the lab's init, and what the boot is for
[Service]
ExecStart=/init
StandardInput=null
StandardOutput=file:/dev/console
StandardError=inherit
UNIT
  (cd "$root" && find . | "$lab/tools/usr/bin/busybox" cpio -o -H newc -R 0:0) >"$out/root.cpio"
  truncate -s %4 "$out/root.cpio"
  rm -rf "$root"
}
