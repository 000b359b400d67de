# Developing wscluster. `make` alone lists the targets; what they do is in hack/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The one version of binaries, images and chart.
VERSION ?= dev
# More arguments: of `wsc run` for `make run`, of `go test` for the tests.
ARGS ?=
# Whichever packages `make test` tests.
PKG ?= ./...
# RACE=1 tests with the race detector.
RACE ?=
# Where the cluster targets install: an overlay of config/default, or config/default itself.
CONFIG ?= config/default

# How many runs `make faults` does, and the first one's seed (0: any).
RUNS ?= 20
SEED ?= 0

# How many runs `make model` does.
SEEDS ?= 200

# How long `make fuzz` runs each target, and which (a regular expression).
FUZZTIME ?= 60s
FUZZ ?= .

LDFLAGS := -s -w -X github.com/wscluster/wscluster/pkg/version.Version=$(VERSION)
export VERSION

# Go's own cache decides what needs building, so binaries have no prerequisites to list.
GO_BUILD = CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)" -o $@ ./cmd/$(@F)
tool = $$(hack/tools/build.sh $(1))/$(1)

##@ Try it

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: bin/wsc ## Run config/samples/chat.yaml on this machine, without Kubernetes (more flags: ARGS="--host 0.0.0.0")
	@bin/wsc run -f config/samples/chat.yaml $(ARGS)

.PHONY: quickstart
quickstart: ## Make a local Kubernetes, install the chart, run the sample chat there and show two clients talking
	@hack/quickstart.sh

##@ Develop

.PHONY: build
build: bin/gateway bin/operator bin/wsc ## Build bin/gateway, bin/operator and bin/wsc

.PHONY: bin/gateway bin/operator bin/wsc
bin/gateway bin/operator bin/wsc:
	@echo "Building $@ (a minute or two the first time)"
	@$(GO_BUILD)

.PHONY: test
test: ## Run unit and integration tests (real Redis, real kube-apiserver); RACE=1, PKG=./pkg/hub/..., ARGS="-run Name"
	@hack/test.sh $(if $(RACE),-race) $(ARGS) $(PKG)

.PHONY: test-browser
test-browser: ## Test the demo chat in a headless Chromium
	@hack/test.sh --needs browser $(ARGS) ./test/browser/...

.PHONY: test-chart
test-chart: ## Check the Helm chart: lint, every object against a real API server, the same objects as config/default
	@hack/test.sh --needs chart $(ARGS) ./test/chart/...

.PHONY: faults
faults: ## Break gateways, Redis and links at random and check that nothing is lost, doubled or reordered; RUNS=200, SEED=n
	@hack/faults.sh $(RUNS) $(SEED)

.PHONY: model
model: ## Hold gateways to the reference model over random steps; SEEDS=1000, SEED=n for one run again
	@MODEL_SEEDS=$(SEEDS) MODEL_SEED=$(SEED) go test -count=1 -timeout 120m -v -run '^TestGatewaysDoWhatTheReferenceSays$$' ./pkg/internal/model $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz the decoders and parsers, one after the other; FUZZTIME=10m each, FUZZ=FuzzDecode only that one
	@hack/fuzz.sh $(FUZZTIME) "$(FUZZ)"

.PHONY: e2e
e2e: ## Run the end-to-end tests on a local Kubernetes of two nodes (root; ARGS="-test.v -test.run TestHelmRelease")
	@hack/e2e.sh $(ARGS)

.PHONY: bench
bench: ## Compare with other servers, write docs/performance.md (half an hour; ARGS="-short" for a look, "-run room", "-h")
	@hack/bench.sh $(ARGS)

.PHONY: bench-micro
bench-micro: ## Run the Go benchmarks here and at the last commit, and compare them (BASE=commit, ARGS="FanOut")
	@hack/bench-micro.sh $(ARGS)

.PHONY: lint
lint: ## Run the linters
	@$(call tool,golangci-lint) run ./...
	@$(call tool,golangci-lint) run -c .golangci.api.yml ./api/v1alpha1

.PHONY: fmt
fmt: ## Format the code as the linters want it
	@$(call tool,golangci-lint) fmt

.PHONY: generate
generate: ## Regenerate Go code: deepcopy functions of the API types
	@$(call tool,controller-gen) object paths=./api/...

.PHONY: manifests
manifests: ## Regenerate manifests: CRD, RBAC role, and the chart's copies of both
	@hack/manifests.sh

.PHONY: clean
clean: ## Remove what was built in this folder; the caches stay (hack/tools/build.sh --prune)
	@rm -rf bin dist

##@ Cluster

.PHONY: images
images: ## Make the container images as docker-archives, without a container engine
	@hack/images/build.sh

.PHONY: cluster-up
cluster-up: ## Make a Kubernetes cluster on this machine (NODES=2 for two nodes, CLUSTER=built|kind|existing)
	@hack/cluster/cluster up

.PHONY: cluster-load
cluster-load: ## Make the images and load them into that cluster
	@hack/cluster/cluster load

.PHONY: cluster-down
cluster-down: ## Remove that cluster and all that it left on this machine
	@hack/cluster/cluster down

.PHONY: install
install: ## Install the CRD into the current cluster (that of kubectl)
	@$(call tool,kustomize) build config/crd | $(call tool,kubectl) apply --server-side -f -

.PHONY: uninstall
uninstall: ## Remove the CRD, and with it every WebSocketCluster, from the current cluster
	@$(call tool,kustomize) build config/crd | $(call tool,kubectl) delete --ignore-not-found -f -

.PHONY: deploy
deploy: ## Install CRD and operator into the current cluster (CONFIG=another overlay)
	@$(call tool,kustomize) build $(CONFIG) | $(call tool,kubectl) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator, the CRD and with it every WebSocketCluster from the current cluster
	@$(call tool,kustomize) build $(CONFIG) | $(call tool,kubectl) delete --ignore-not-found -f -
