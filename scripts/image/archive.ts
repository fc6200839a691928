// How do images of several architectures become one file that container engines import? An OCI image layout in a tar, with Docker's older
// manifest.json beside it.
// The same entries, labels and times give the same bytes: sorted, no time of day, and a compressor whose output is the same on every machine.

import { createHash } from "node:crypto";
import { packTar } from "modern-tar";
import type { Entry } from "./files.ts";

/** One layer of the image. */
export interface Layer {
  /** What it is called in the image's history. */
  readonly name: string;
  readonly entries: readonly Entry[];
  /** The time of its files. */
  readonly time: Date;
}

/** The image of one architecture, and how it starts. */
export interface Image {
  readonly architecture: string;
  readonly entrypoint: readonly string[];
  /** Variables as "NAME=VALUE". */
  readonly environment: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly created: Date;
  /** From the lowest to the highest. */
  readonly layers: readonly Layer[];
}

/** A part of an image by its hash. */
interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly bytes: Uint8Array;
}

/** Sizes in bytes, as nodes store and as they fetch it. */
export interface LayerSizes {
  readonly name: string;
  readonly digest: string;
  readonly unpacked: number;
  readonly packed: number;
}

/** An image as it is in the archive. */
export interface PackedImage {
  readonly architecture: string;
  /** Digest of its manifest. */
  readonly digest: string;
  readonly layers: readonly LayerSizes[];
}

interface Built {
  readonly image: Image;
  readonly config: Blob;
  readonly manifest: Blob;
  readonly packed: readonly Blob[];
  readonly sizes: readonly LayerSizes[];
}

async function build(image: Image): Promise<Built> {
  const { layers, architecture, entrypoint, environment, labels, created } = image;
  const tars = await Promise.all(layers.map(async ({ entries, time }) => tarOf(entries, time)));
  const packed = tars.map((tar) => blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)));
  const config = jsonBlob("application/vnd.oci.image.config.v1+json", {
    created: created.toISOString(),
    architecture,
    os: "linux",
    config: { User: "0:0", WorkingDir: "/", Entrypoint: entrypoint, Env: environment, Labels: sorted(labels) },
    rootfs: { type: "layers", diff_ids: tars.map(digestOf) },
    history: layers.map(({ name, time }) => ({ created: time.toISOString(), created_by: name })),
  });
  const manifest = jsonBlob("application/vnd.oci.image.manifest.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor(config),
    layers: packed.map(descriptor),
    annotations: sorted(labels),
  });
  const sizes = layers.map(({ name }, at) => ({
    name,
    digest: packed[at]?.digest ?? "",
    unpacked: tars[at]?.length ?? 0,
    packed: packed[at]?.size ?? 0,
  }));
  return { image, config, manifest, packed, sizes };
}

/** What an archive is called: NAME:TAG, for instance localhost/sriovdp:1.0.0. */
export interface ArchiveName {
  readonly name: string;
  readonly tag: string;
}

/**
 * Makes the archive: an OCI image layout whose one entry is an index of the images, so that one name serves all architectures and `podman load`,
 * which takes archives of one entry alone, takes it too. Docker without containerd's image store reads manifest.json only, which has no indexes:
 * there each image is NAME:TAG-ARCHITECTURE. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function ociArchive(
  { name, tag }: ArchiveName,
  images: readonly Image[],
): Promise<{ archive: Uint8Array; digest: string; images: PackedImage[] }> {
  const [first] = images;
  if (first === undefined) throw new Error("an archive has at least one image");
  const built = await Promise.all(images.map(build));
  const index = jsonBlob("application/vnd.oci.image.index.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: built.map(({ image, manifest }) => ({
      ...descriptor(manifest),
      platform: { architecture: image.architecture, os: "linux" },
    })),
    annotations: sorted(first.labels),
  });
  const layout = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      {
        ...descriptor(index),
        annotations: { "io.containerd.image.name": `${name}:${tag}`, "org.opencontainers.image.ref.name": tag },
      },
    ],
  };
  const docker = built.map(({ image, config, packed }) => ({
    Config: pathOf(config),
    RepoTags: [`${name}:${images.length === 1 ? tag : `${tag}-${image.architecture}`}`],
    Layers: packed.map(pathOf),
  }));
  const blobs = new Map(
    [index, ...built.flatMap(({ config, manifest, packed }) => [config, manifest, ...packed])].map(
      (each) => [each.digest, each] as const,
    ),
  );
  const archive = await tarOf(
    [
      { path: "blobs/", folder: true, mode: 0o755 },
      { path: "blobs/sha256/", folder: true, mode: 0o755 },
      ...[...blobs.values()]
        .toSorted((a, b) => (a.digest < b.digest ? -1 : 1))
        .map((each) => ({ path: pathOf(each), content: each.bytes, mode: 0o644 })),
      { path: "index.json", content: JSON.stringify(layout), mode: 0o644 },
      { path: "manifest.json", content: JSON.stringify(docker), mode: 0o644 },
      { path: "oci-layout", content: JSON.stringify({ imageLayoutVersion: "1.0.0" }), mode: 0o644 },
    ],
    first.created,
  );
  return {
    archive,
    digest: index.digest,
    images: built.map(({ image, manifest, sizes }) => ({
      architecture: image.architecture,
      digest: manifest.digest,
      layers: sizes,
    })),
  };
}

/** A tar of these entries in their order, owned by root and of one time. */
export const tarOf = (entries: readonly Entry[], mtime: Date): Promise<Uint8Array> =>
  packTar(
    entries.map((entry) => {
      const owner = { mtime, uid: 0, gid: 0, uname: "", gname: "" };
      if ("link" in entry)
        return { header: { ...owner, name: entry.path, type: "symlink", size: 0, mode: 0o777, linkname: entry.link } };
      if ("folder" in entry)
        return { header: { ...owner, name: entry.path, type: "directory", size: 0, mode: entry.mode } };
      const body = typeof entry.content === "string" ? Buffer.from(entry.content) : entry.content;
      return { header: { ...owner, name: entry.path, type: "file", size: body.length, mode: entry.mode }, body };
    }),
  );

/** libdeflate's choices do not depend on the processor's features, as those of zlib's faster forks do; it stores no time. */
export const gzip = (bytes: Uint8Array): Uint8Array =>
  Bun.gzipSync(bytes as Uint8Array<ArrayBuffer>, { library: "libdeflate", level: 9 });

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

const blob = (mediaType: string, bytes: Uint8Array): Blob => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
  bytes,
});

const jsonBlob = (mediaType: string, value: object): Blob => blob(mediaType, Buffer.from(JSON.stringify(value)));

const descriptor = ({ mediaType, digest, size }: Blob): object => ({ mediaType, digest, size });

const pathOf = ({ digest }: Blob): string => `blobs/${digest.replace(":", "/")}`;

const sorted = (record: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));
