# What is built from Go modules: Kubernetes as one executable, and the CNI plugins of a cluster. Sourced by make.sh.
# Results: $lab/kubernetes/kubernetes ($lab/kubernetes-VERSION for another version than go.mod's) and $lab/cni/*

kubernetes_module="$here/../kubernetes"
cni_module="$here/../cni"

default_version() { awk 'NF > 1 && $(NF - 1) == "k8s.io/kubernetes" {print $NF}' "$kubernetes_module/go.mod"; }

go_needed() { command -v go >/dev/null || skipped "Kubernetes and CNI plugins are built from source, and there is no go"; }

make_kubernetes() {
  local module="$kubernetes_module" minor
  go_needed
  if [ "$version" != "$(default_version)" ]; then
    module="$out/module"
    kubernetes_module_of "$version" "$module"
  fi
  minor=${version#v1.}
  (cd "$module" &&
    CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -buildvcs=false -trimpath -o "$out/kubernetes" \
      -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}" .)
  "$out/kubernetes" kubelet --version
}

# kubernetes_module_of VERSION FOLDER: our module for another release. The release's staging folders become modules of their own:
# v1.MINOR.PATCH of Kubernetes is v0.MINOR.PATCH of these.
kubernetes_module_of() {
  local release
  mkdir -p "$2"
  cp "$kubernetes_module/main.go" "$2/"
  release=$(cd "$2" && GOFLAGS=-mod=mod go mod download -json "k8s.io/kubernetes@$1" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
  {
    printf 'module sriovdp/test/vm/kubernetes\n\n'
    grep '^go ' "$release"
    printf '\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$1"
    sed -n "s#^.*\(k8s.io/[a-z-]*\) => \./staging.*#\t\1 => \1 v0.${1#v1.}#p" "$release"
    printf ')\n'
  } >"$2/go.mod"
  (cd "$2" && GOFLAGS=-mod=mod go mod tidy)
  # Earlier releases' command of the kubelet takes no context.
  if ! grep -q '^func NewKubeletCommand(ctx' "$(cd "$2" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/cmd/kubelet/app/server.go"; then
    sed -i 's/NewKubeletCommand(context.Background())/NewKubeletCommand()/; /^\t"context"$/d' "$2/main.go"
  fi
}

make_cni() {
  go_needed
  (cd "$cni_module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -buildvcs=false -trimpath -ldflags "-s -w" -o "$out/" tool)
}
