# The image: dist/sriovdp on a base with glibc and nothing else. Build the executable first: npm run build.
# The base is an argument, so that an air-gapped site can name its own copy; it needs glibc 2.17 or newer.
ARG BASE=gcr.io/distroless/base-debian12
FROM ${BASE}
COPY dist/sriovdp /usr/bin/sriovdp
COPY LICENSE /usr/share/doc/sriovdp/LICENSE
ENTRYPOINT ["/usr/bin/sriovdp"]
