# Images of the gateway and the operator.
#
#   docker build --target gateway  -t wscluster.dev/gateway:dev .
#   docker build --target operator -t wscluster.dev/operator:dev .
#
# Without a registry, from binaries that are already there (make them with: hack/images/build.sh --stage bin/image):
#
#   buildah bud --isolation chroot --pull-never --build-arg BINARIES=prebuilt --target gateway -t wscluster.dev/gateway:dev .
#
# `make images` needs neither docker nor buildah.

# build: compile here; prebuilt: take the binaries from bin/image
ARG BINARIES=build

FROM golang:1.26 AS build
ARG VERSION=dev
WORKDIR /src
# Modules first: their layer stays valid while only sources change.
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY pkg pkg
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/wscluster/wscluster/pkg/version.Version=${VERSION}" -o /out/ ./cmd/gateway ./cmd/operator && \
    cp /etc/ssl/certs/ca-certificates.crt /out/

FROM scratch AS prebuilt
COPY bin/image/ /out/

FROM ${BINARIES} AS binaries

FROM scratch AS operator
COPY --from=binaries /out/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]

# The last target is the default one.
FROM scratch AS gateway
# JWKS endpoints and rediss:// servers with public certificates are verified against these.
COPY --from=binaries /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binaries /out/gateway /gateway
USER 65532:65532
EXPOSE 8080 8081 9090
ENTRYPOINT ["/gateway"]
