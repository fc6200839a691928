# The image: the executable built from this checkout, the few files of glibc that it needs, and nothing else (scripts/image/files.ts is
# the list; scripts/image/image.ts makes the same image without a container engine).
#
#   docker build --build-arg COMMIT=$(git rev-parse --short=12 HEAD) --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) \
#     --build-arg VERSION=0.2.0-dev.$(git rev-parse --short=12 HEAD) -t sriovdp .
#
# The bases are pinned by tag. A release adds the digest to each of these two lines, after the tag: NAME=IMAGE:TAG@sha256:DIGEST.
# An air-gapped site names its own copies: --build-arg DEBIAN=… --build-arg BUN=…
ARG DEBIAN=debian:13.8-slim
ARG BUN=oven/bun:1.4.5-slim

FROM ${DEBIAN} AS glibc

FROM ${BUN} AS build
WORKDIR /src
COPY package.json package-lock.json ./
COPY scripts/build/install-packages.sh scripts/build/
RUN sh scripts/build/install-packages.sh
COPY . .
ARG COMMIT=unknown
ARG SOURCE_DATE_EPOCH=0
RUN SRIOVDP_COMMIT="${COMMIT}" bun scripts/build/executable.ts
ARG TARGETARCH
RUN --mount=type=bind,from=glibc,target=/glibc \
    SRIOVDP_COMMIT="${COMMIT}" bun scripts/image/image.ts ${TARGETARCH:+--arch="${TARGETARCH}"} --executable=dist/sriovdp --glibc-root=/glibc --folder=/image

FROM scratch
ARG COMMIT=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title="sriovdp" \
      org.opencontainers.image.description="SR-IOV network device plugin for Kubernetes" \
      org.opencontainers.image.vendor="The sriovdp authors" \
      org.opencontainers.image.url="https://sriovdp.example.com" \
      org.opencontainers.image.source="https://sriovdp.example.com" \
      org.opencontainers.image.documentation="https://sriovdp.example.com/docs" \
      org.opencontainers.image.base.name="scratch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.licenses="Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-2-Clause AND BSD-3-Clause AND IJG AND ISC AND LGPL-2.0-or-later AND LGPL-2.1-only AND LGPL-2.1-or-later AND MIT AND OpenSSL AND Unicode-3.0 AND Zlib AND blessing"
COPY --from=build /image/ /
ENV BUN_JSC_useFTLJIT=0 BUN_JSC_jitPolicyScale=0.5 BUN_GC_TIMER_DISABLE=1 MIMALLOC_SCAVENGER=0
ENTRYPOINT ["/usr/bin/sriovdp"]
