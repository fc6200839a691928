# Container images of our own: the guest has no registry. Sourced by make.sh.

# image FILE NAME ROOT ENTRYPOINT: the folder ROOT as a one-layer OCI image archive for `ctr images import`
image() {
  local file=$1 name=$2 root=$3 entrypoint=$4 layout layer config manifest
  layout="$file.layout"
  mkdir -p "$layout/blobs/sha256" "$root"/{dev,etc,proc,sys,tmp}
  tar -C "$root" --numeric-owner --owner=0 --group=0 --mtime=@0 --sort=name -cf "$layout/layer.tar" .
  layer=$(image_blob "$layout" "$layout/layer.tar" application/vnd.oci.image.layer.v1.tar)
  cat >"$layout/config.json" <<JSON
{"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["$entrypoint"], "Env": ["PATH=/bin"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$(sha256sum <"$layout/layer.tar" | cut -d' ' -f1)"]}}
JSON
  config=$(image_blob "$layout" "$layout/config.json" application/vnd.oci.image.config.v1+json)
  cat >"$layout/manifest.json" <<JSON
{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
 "config": {$config}, "layers": [{$layer}]}
JSON
  manifest=$(image_blob "$layout" "$layout/manifest.json" application/vnd.oci.image.manifest.v1+json)
  cat >"$layout/index.json" <<JSON
{"schemaVersion": 2, "manifests": [{$manifest,
 "annotations": {"io.containerd.image.name": "$name", "org.opencontainers.image.ref.name": "${name##*:}"}}]}
JSON
  printf '{"imageLayoutVersion": "1.0.0"}\n' >"$layout/oci-layout"
  tar -C "$layout" -cf "$file" oci-layout index.json blobs
  rm -rf "$layout"
}

# image_blob LAYOUT FILE TYPE: stores the file under its hash; prints the inside of its descriptor
image_blob() {
  local hash
  hash=$(sha256sum <"$2" | cut -d' ' -f1)
  cp "$2" "$1/blobs/sha256/$hash"
  printf '"mediaType": "%s", "digest": "sha256:%s", "size": %s' "$3" "$hash" "$(stat -c %s "$2")"
}
