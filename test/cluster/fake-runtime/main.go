// The container runtime of a node that runs no containers, for a genuine kubelet: the fake of Kubernetes' own CRI client, which gives a
// container what the kubelet requests for it as containerd and CRI-O do: variables, device nodes, and CDI devices by the Container
// Device Interface's own library. A container that they could not create is refused, and each one is a line of JSON in a file.
// Arguments: the socket to listen at, the folder of CDI specs, and the file.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/fake"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// A container as it would have been started.
type container struct {
	Pod   string   `json:"pod"`
	Env   []string `json:"env"`
	Nodes []string `json:"nodes"`
	CDI   []string `json:"cdi"`
	Error string   `json:"error"`
}

type runtime struct {
	*fake.RemoteRuntime
	specs string
	lock  sync.Mutex
	file  *os.File
}

// The spec that a container would run by: the kubelet's variables and nodes, and then the CDI devices.
func (r *runtime) specOf(config *cri.ContainerConfig, names []string) (*oci.Spec, error) {
	spec := &oci.Spec{Process: &oci.Process{}, Linux: &oci.Linux{}}
	for _, each := range config.Envs {
		spec.Process.Env = append(spec.Process.Env, fmt.Sprintf("%s=%s", each.Key, each.Value))
	}
	for _, each := range config.Devices {
		info, err := os.Stat(each.HostPath)
		if err != nil {
			return spec, err
		}
		if info.Mode()&os.ModeCharDevice == 0 {
			return spec, fmt.Errorf("%s is no character device", each.HostPath)
		}
		spec.Linux.Devices = append(spec.Linux.Devices, oci.LinuxDevice{Path: each.ContainerPath})
	}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(r.specs), cdi.WithAutoRefresh(false))
	if err == nil {
		_, err = cache.InjectDevices(spec, names...)
	}
	return spec, err
}

func (r *runtime) CreateContainer(ctx context.Context, request *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	made := container{Pod: request.SandboxConfig.Metadata.Name, Nodes: []string{}, CDI: []string{}}
	for _, each := range request.Config.CDIDevices {
		made.CDI = append(made.CDI, each.Name)
	}
	spec, err := r.specOf(request.Config, made.CDI)
	made.Env = spec.Process.Env
	for _, each := range spec.Linux.Devices {
		made.Nodes = append(made.Nodes, each.Path)
	}
	if err != nil {
		made.Error = err.Error()
	}
	if failed := r.note(made); failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return r.RemoteRuntime.CreateContainer(ctx, request)
}

func (r *runtime) note(made container) error {
	line, err := json.Marshal(made)
	if err != nil {
		return err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	_, err = r.file.Write(append(line, '\n'))
	return err
}

// Every image is there. The kubelet refuses one without an id or a size when a second container has it.
func (r *runtime) ImageStatus(_ context.Context, request *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	name := request.Image.Image
	return &cri.ImageStatusResponse{Image: &cri.Image{Id: name, RepoTags: []string{name}, Size: 1}}, nil
}

func serve(socket, specs, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	served := &runtime{RemoteRuntime: fake.NewFakeRemoteRuntime(), specs: specs, file: file}
	served.RuntimeService.FakeStatus = &cri.RuntimeStatus{Conditions: []*cri.RuntimeCondition{
		{Type: cri.RuntimeReady, Status: true},
		{Type: cri.NetworkReady, Status: true},
	}}
	served.RuntimeService.FakeLinuxConfiguration = &cri.LinuxRuntimeConfiguration{CgroupDriver: cri.CgroupDriver_CGROUPFS}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, served)
	cri.RegisterImageServiceServer(server, served)
	return server.Serve(listener)
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: fake-runtime SOCKET CDI-FOLDER FILE")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
