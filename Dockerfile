# syntax=docker/dockerfile:1
FROM rust:1.89-alpine3.22 AS build
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates gcc make musl-dev
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY crates crates
COPY src src
# A build reads the manifest, which names them.
COPY benches benches
# Shown by --version; a build context has no history to ask.
ARG CRYPTOLENS_BUILD_COMMIT=unknown
# `dist` is what a release has: smaller, and twice as long to build.
ARG CARGO_PROFILE=release
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    CRYPTOLENS_BUILD_COMMIT="$CRYPTOLENS_BUILD_COMMIT" \
    cargo build --profile "$CARGO_PROFILE" --locked --bin cryptolens-exporter && \
    cp "target/$CARGO_PROFILE/cryptolens-exporter" /cryptolens-exporter && \
    mkdir -p /empty/var/lib/cryptolens-exporter /empty/tmp && chmod 1777 /empty/tmp

# No shell, no package manager, no libc: the binary is static.
FROM scratch
LABEL org.opencontainers.image.title="cryptolens-exporter" \
      org.opencontainers.image.description="Counts every entry of the Cryptolens logs exactly once, for Prometheus" \
      org.opencontainers.image.source="https://github.com/cryptolens-exporter/cryptolens-exporter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /empty/ /
COPY --from=build /cryptolens-exporter /cryptolens-exporter
USER 65532:65532
ENV CRYPTOLENS_STORAGE_PATH=/var/lib/cryptolens-exporter
VOLUME /var/lib/cryptolens-exporter
EXPOSE 10460
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s CMD ["/cryptolens-exporter", "healthcheck"]
ENTRYPOINT ["/cryptolens-exporter"]
CMD ["serve"]
