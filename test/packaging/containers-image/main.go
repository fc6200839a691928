// containers-image SOURCE DESTINATION [ARCHITECTURE]: copies an image as skopeo does, by the names that it takes (oci-archive:…, docker://…,
// dir:…). With an architecture the image of that one alone, as podman load takes it; without, the index with all. Prints the digest of what
// it wrote.
package main

import (
	"context"
	"fmt"
	"os"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/manifest"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/transports/alltransports"
	"go.podman.io/image/v5/types"
)

func run(source, destination, architecture string) error {
	from, err := alltransports.ParseImageName(source)
	if err != nil {
		return err
	}
	to, err := alltransports.ParseImageName(destination)
	if err != nil {
		return err
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{
		Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()},
	})
	if err != nil {
		return err
	}
	system := &types.SystemContext{
		ArchitectureChoice:          architecture,
		OSChoice:                    "linux",
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
	}
	options := &copy.Options{SourceCtx: system, DestinationCtx: system}
	if architecture == "" {
		options.ImageListSelection = copy.CopyAllImages
		options.PreserveDigests = true
	}
	written, err := copy.Image(context.Background(), policy, to, from, options)
	if err != nil {
		return err
	}
	digest, err := manifest.Digest(written)
	if err != nil {
		return err
	}
	fmt.Println(digest)
	return nil
}

func main() {
	architecture := ""
	if len(os.Args) > 3 {
		architecture = os.Args[3]
	}
	if err := run(os.Args[1], os.Args[2], architecture); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
