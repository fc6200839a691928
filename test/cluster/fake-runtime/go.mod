// The container runtime of the nodes in test/cluster/nodes.test.ts: see main.go.
module sriovdp/test/cluster/fake-runtime

go 1.24.0

require (
	github.com/opencontainers/runtime-spec v1.3.0
	google.golang.org/grpc v1.72.1
	k8s.io/cri-api v0.34.4
	k8s.io/cri-client v0.34.4
	tags.cncf.io/container-device-interface v1.1.1
)

require (
	github.com/Microsoft/go-winio v0.6.2 // indirect
	github.com/fsnotify/fsnotify v1.9.0 // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/net v0.38.0 // indirect
	golang.org/x/sys v0.31.0 // indirect
	golang.org/x/text v0.23.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20250303144028-a0af3efb3deb // indirect
	google.golang.org/protobuf v1.36.5 // indirect
	k8s.io/apimachinery v0.34.4 // indirect
	k8s.io/utils v0.0.0-20250604170112-4c0f3b243397 // indirect
	tags.cncf.io/container-device-interface/specs-go v1.1.1 // indirect
)
