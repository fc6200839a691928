# Kernel modules that Debian's kernel leaves out, built from Debian's own kernel source: software devices in place of
# hardware that is not at hand. Sourced by make.sh. Result: $lab/modules/*.ko

make_modules() {
  local version chroot work source
  version=$(cat "$lab/kernel/version")
  chroot="$lab/kernel/build"
  work="$chroot/build"
  source=$work/source
  if [ ! -d "$source" ]; then
    mkdir -p "$source.new"
    tar -C "$source.new" --strip-components=1 -xJf "$chroot"/usr/src/linux-source-*.tar.xz --wildcards \
      '*/drivers/net/netdevsim' '*/drivers/vdpa' '*/drivers/vhost' '*/drivers/vfio' '*/drivers/infiniband/sw/rxe'
    mv "$source.new" "$source"
  fi
  rm -rf "$work/extra" && mkdir -p "$work/extra"
  (cd "$work/extra" && modules_netdevsim && modules_vdpa && modules_rxe && modules_vfio)
  cp -r "$here/labsim" "$work/extra/labsim"
  printf 'obj-m += netdevsim/ vringh/ vdpa_sim/ vp_vdpa/ rxe/ vfio/ labsim/\n' >"$work/extra/Makefile"
  chroot "$chroot" make -C "/usr/src/linux-headers-$version" M=/build/extra -j"$(nproc)" modules
  find "$work/extra" -name '*.ko' | while read -r module; do
    chroot "$chroot" strip --strip-debug "${module#"$chroot"}"
    cp "$module" "$out/"
  done
  rm -rf "$work/extra"
}

# netdevsim: devlink, ports and VFs without any bus
modules_netdevsim() {
  cp -r "$source/drivers/net/netdevsim" netdevsim
  sed -i 's/obj-$(CONFIG_NETDEVSIM)/obj-m/' netdevsim/Makefile
}

# vdpa_sim: vDPA devices without a parent; vp_vdpa: a vDPA management device on a virtio PCI function
modules_vdpa() {
  mkdir vringh vdpa_sim vp_vdpa
  cp "$source/drivers/vhost/vringh.c" vringh/
  cp "$source"/drivers/vdpa/vdpa_sim/*.[ch] vdpa_sim/
  cp "$source"/drivers/vdpa/virtio_pci/*.[ch] vp_vdpa/
  echo 'obj-m += vringh.o' >vringh/Makefile
  echo 'obj-m += vdpa_sim.o vdpa_sim_net.o' >vdpa_sim/Makefile
  echo 'obj-m += vp_vdpa.o' >vp_vdpa/Makefile
}

# Soft RoCE below the PCI function of its net device, as the RDMA device of a real NIC is: the kernel's own has no parent,
# and so no /sys/bus/pci/devices/BDF/infiniband. And with the operation without which an RDMA device can't go to another
# network namespace.
modules_rxe() {
  cp -r "$source/drivers/infiniband/sw/rxe" rxe
  sed -i 's/obj-$(CONFIG_RDMA_RXE)/obj-m/' rxe/Makefile
  sed -i 's/^\terr = ib_register_device(dev, ibdev_name, NULL);/\tdev->dev.parent = ndev->dev.parent;\n&/' rxe/rxe_verbs.c
  sed -i 's/^static const struct ib_device_ops rxe_dev_ops = {/static void rxe_disassociate_ucontext(struct ib_ucontext *context)\n{\n}\n\n&\n\t.disassociate_ucontext = rxe_disassociate_ucontext,/' rxe/rxe_verbs.c
  grep -q '\.disassociate_ucontext' rxe/rxe_verbs.c || { echo "rxe_verbs.c is not as expected" >&2; return 1; }
  grep -q 'dev->dev.parent = ndev->dev.parent' rxe/rxe_verbs.c || { echo "rxe_verbs.c is not as expected" >&2; return 1; }
}

# vfio with the no-IOMMU mode, which Debian's kernel turns off
modules_vfio() {
  mkdir vfio
  cp "$source"/drivers/vfio/*.[ch] vfio/
  cat >vfio/Makefile <<'MAKE'
obj-m += vfio.o
vfio-y := vfio_main.o
vfio-$(CONFIG_VFIO_GROUP) += group.o
vfio-$(CONFIG_VFIO_CONTAINER) += container.o
vfio-$(CONFIG_VFIO_VIRQFD) += virqfd.o
vfio-$(CONFIG_VFIO_DEBUGFS) += debugfs.o
ccflags-y += -DCONFIG_VFIO_NOIOMMU=1
MAKE
}
