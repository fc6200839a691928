// What does the Container Device Interface's own library make of a folder of specs? Prints a JSON of what it refuses, of
// the devices that it finds, of each spec's version and the lowest that would do, and of the nodes that it gives a
// container which requests all devices. Arguments: the folder, and a JSON object of annotations.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/specs-go"
)

type version struct {
	Written string `json:"written"`
	Lowest  string `json:"lowest"`
}

type findings struct {
	Refused   []string           `json:"refused"`
	Devices   []string           `json:"devices"`
	Versions  map[string]version `json:"versions"`
	Annotated []string           `json:"annotated"`
	Nodes     []string           `json:"nodes"`
}

func find(folder string, annotations map[string]string) (findings, error) {
	found := findings{Versions: map[string]version{}}
	cache, err := cdi.NewCache(cdi.WithSpecDirs(folder), cdi.WithAutoRefresh(false))
	if err != nil {
		return found, err
	}
	for path, errors := range cache.GetErrors() {
		for _, each := range errors {
			found.Refused = append(found.Refused, fmt.Sprintf("%s: %v", path, each))
		}
	}
	found.Devices = cache.ListDevices()
	for _, vendor := range cache.ListVendors() {
		for _, spec := range cache.GetVendorSpecs(vendor) {
			lowest, err := specs.MinimumRequiredVersion(spec.Spec)
			if err != nil {
				return found, err
			}
			found.Versions[spec.GetPath()] = version{spec.Version, lowest}
		}
	}
	if _, found.Annotated, err = cdi.ParseAnnotations(annotations); err != nil {
		return found, err
	}
	sort.Strings(found.Annotated)
	container := &oci.Spec{Linux: &oci.Linux{}}
	if _, err := cache.InjectDevices(container, found.Devices...); err != nil {
		return found, err
	}
	for _, device := range container.Linux.Devices {
		found.Nodes = append(found.Nodes, device.Path)
	}
	return found, nil
}

func main() {
	annotations := map[string]string{}
	err := json.Unmarshal([]byte(os.Args[2]), &annotations)
	var found findings
	if err == nil {
		found, err = find(os.Args[1], annotations)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
