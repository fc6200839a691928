#!/bin/bash
# make.sh [base|node|cluster|kubernetes] [containerd-2] [VERSION]: make the lab, a guest kernel and root in which the tests meet real SR-IOV devices.
#   base  (the default) QEMU, kernel and an initramfs
#   node  all that, and a root disk with the genuine kubelet and containerd
#   cluster  all that, and CNI plugins
#   kubernetes  only Kubernetes, of VERSION if there is one
#   containerd-2  also a root disk that has containerd 2 instead of Debian's 1.7
#   VERSION (v1.37.2)  also the control plane and the kubelet of that release
# Everything goes to ${SRIOVDP_LAB_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/sriovdp-lab}, about 2 GB; what is there already and made
# from the same inputs is kept. Needs an x86-64 Debian (or like it) with apt, and root for the chroot in which modules are built.
# Exit status 77: this machine can't have the lab.
. "$(dirname "$0")/common.sh"
. "$here/packages.sh"
. "$here/modules.sh"
. "$here/base.sh"
. "$here/systemd.sh"
. "$here/image.sh"
. "$here/kubernetes.sh"
. "$here/containerd.sh"
. "$here/node.sh"

target=base
release=
containerd=
for argument in "$@"; do
  case $argument in
    base | node | cluster | kubernetes) target=$argument ;;
    containerd-2) containerd=$argument ;;
    v[0-9]*) release=$argument ;;
    *)
      echo "usage: make.sh [base|node|cluster|kubernetes] [containerd-2] [VERSION]" >&2
      exit 2
      ;;
  esac
done

[ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] || skipped "it is for Linux on x86-64"
[ "$(id -u)" = 0 ] || skipped "root is needed (a chroot to build kernel modules in, device nodes)"
for command in tar awk sha256sum flock find chroot mknod; do
  command -v $command >/dev/null || skipped "there is no $command"
done
mkdir -p "$lab"
say "the lab's folder is $lab"
# Two runs at once would take away what the other one makes.
exec 9>"$lab/.lock"
flock -n 9 || { say "waiting for another make.sh to end"; flock 9; }

sources=("$kubernetes_module/main.go" "$kubernetes_module/go.mod" "$kubernetes_module/go.sum")

# The release of the lab's go.mod, and another one.
own_kubernetes() {
  version=$(default_version)
  step kubernetes "Kubernetes $version from source (some minutes)" "$(key "$version" "${sources[@]}")" make_kubernetes
}
other_kubernetes() {
  version=$1
  [ "$version" = "$(default_version)" ] ||
    step "kubernetes-$version" "Kubernetes $version from source (some minutes)" "$(key "$version" "${sources[0]}" "$here/kubernetes.sh")" make_kubernetes
}

if [ "$target" = kubernetes ]; then
  if [ -n "$release" ]; then other_kubernetes "$release"; else own_kubernetes; fi
  exit 0
fi
step qemu "QEMU and its libraries" "$(key "$suite" "$qemu_packages" 1)" make_qemu
step tools "the guest's tools" "$(key "$suite" "$tool_packages" 1)" make_tools
step kernel "kernel, its headers and source, compiler" "$(key "$suite" "$build_packages" 1)" make_kernel
step modules "kernel modules that Debian leaves out" "$(key "$(key_of kernel)" "$here/modules.sh" "$here"/labsim/*)" make_modules
step base "the guest's initramfs" "$(key "$(key_of tools)" "$(key_of modules)" "$here/base.sh" "$here/guest-init")" make_base
step systemd "systemd for the guest" "$(key "$(key_of tools)" "$here/systemd.sh")" make_systemd
[ "$target" != base ] || exit 0
step pause "the pause container's program" "$(key "$(key_of kernel)" "$here/pause.c")" make_pause
own_kubernetes
step node "the node's root disk" "$(key "$(key_of base)" "$(key_of pause)" "$(key_of kubernetes)" "$here/node.sh" "$here/image.sh")" make_node
if [ -n "$containerd" ]; then
  step containerd-2 "containerd 2 from source" "$(key "$containerd_module/go.mod" "$containerd_module/go.sum")" make_containerd_2
  step node-containerd-2 "the node's root disk with containerd 2" "$(key "$(key_of node)" "$(key_of containerd-2)")" make_node_containerd_2
fi
[ "$target" != node ] || exit 0
step cni "multus and CNI plugins from source" "$(key "$cni_module/go.mod" "$cni_module/go.sum")" make_cni
[ -z "$release" ] || other_kubernetes "$release"
