# containerd 2 from Go modules, beside Debian's 1.7 among the guest's tools. Sourced by make.sh.
# Result: $lab/containerd-2/{containerd,containerd-shim-runc-v2,ctr}

containerd_module="$here/../containerd"

make_containerd_2() {
  go_needed
  # Without cgo it has no btrfs snapshotter, which the guest's configuration disables anyway.
  (cd "$containerd_module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -buildvcs=false -trimpath -ldflags "-s -w" -o "$out/" tool)
  "$out/containerd" --version
}
