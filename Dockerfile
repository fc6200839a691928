# The image: dist/sriovdp on a base with glibc and nothing else. Build the executable first: npm run build.
# The base is an argument: any image with glibc 2.17 or newer will do. A distroless one is the smallest, and an air-gapped
# site names its own copy.
ARG BASE=debian:stable-slim
FROM ${BASE}
COPY dist/sriovdp /usr/bin/sriovdp
COPY LICENSE /usr/share/doc/sriovdp/LICENSE
ENTRYPOINT ["/usr/bin/sriovdp"]
