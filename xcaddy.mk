# How caddy-logout is built, run and tested. `make` lists the targets; each one
# does its work here in a few lines, or in a script of scripts/.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULE := github.com/caddy-logout/caddy-logout
TAGS   := nobadger,nomysql,nopgx

# Every go command takes these flags, so that the binary, the tests, the linter
# and the editor's own builds through make share one build cache. -trimpath also
# makes the cache independent of where the clone lies, and -buildvcs=false makes
# a new commit not relink everything.
#
# Without cgo the binary is static, the same wherever it is built, and what the
# image holds; the race detector alone needs it, and shares nothing anyway.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(filter-out -buildvcs=% -trimpath -tags=%,$(GOFLAGS)) -buildvcs=false -trimpath -tags=$(TAGS))

LDFLAGS := -w -s
# The Caddy version that go.mod asks for.
CADDY_VERSION := $(shell awk '$$1 == "github.com/caddyserver/caddy/v2" { print $$2; exit }' go.mod)

# More flags for the tests: make test GO_TEST_FLAGS='-run TestLogout -v'
GO_TEST_FLAGS ?=
# How long each fuzz target runs in `fuzz`; `test` gives each 10 seconds.
FUZZTIME ?= 2m
# More flags for the benchmark: make bench BENCH_FLAGS='-million -pairs 9'
BENCH_FLAGS ?=
# More flags for the soak: make soak SOAK_FLAGS='-for 2m'
SOAK_FLAGS ?=
# How often `race` runs every test.
RACE_COUNT ?= 5

.PHONY: help build run test race attack lint bench soak fuzz examples image image-test sbom

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' xcaddy.mk

build: ## build bin/caddy: Caddy with this module in it
ifneq ($(shell command -v xcaddy 2>/dev/null),)
	GOFLAGS= XCADDY_GO_BUILD_FLAGS="-trimpath -ldflags '$(LDFLAGS)' -tags $(TAGS)" \
		xcaddy build $(CADDY_VERSION) --with $(MODULE)=. --output bin/caddy
else
	go build -ldflags '$(LDFLAGS)' -o bin/caddy ./cmd/caddy
endif

run: build ## build, and start the demo on http://localhost:8080
	scripts/run-demo.sh

test: ## all that CI runs: lint, tests, fuzzing for 10 s a target
	scripts/test.sh $(GO_TEST_FLAGS)

race: ## every test RACE_COUNT times under the race detector
	scripts/install-missing.sh
	CGO_ENABLED=1 go test -race -count=$(RACE_COUNT) -shuffle=on -timeout 60m $(GO_TEST_FLAGS) ./...

attack: ## the attacks among the tests, with how often each was tried and got through
	scripts/install-missing.sh
	go test -count=1 -v -run '^TestAttack' ./... | grep -E '^(---|FAIL|ok|panic)|attack: '

lint: ## formatting, linters, vet and builds for linux, darwin and windows
	scripts/lint.sh

bench: build ## measure the gate against a bare proxy, and write docs/performance.md
	scripts/install-missing.sh
	go run ./bench -write docs/performance.md $(BENCH_FLAGS)

soak: build ## half an hour of trouble: lost sessions, late logouts, leaks
	scripts/install-missing.sh
	go run ./bench/soak -write docs/performance.md $(SOAK_FLAGS)

fuzz: ## every fuzz target for FUZZTIME (2m)
	scripts/fuzz.sh $(FUZZTIME)

examples: build ## validate every file in caddyfile-examples/
	scripts/examples.sh

image: ## build the image caddy-logout:dev (IMAGE, BUILD_IMAGE, BASE_IMAGE)
	scripts/image.sh

image-test: ## build the image from what is here, start it, sign in and out
	scripts/image-test.sh

sbom: build ## list all that is in bin/caddy, in bin/caddy-logout.cdx.json
	go -C tools/sbom test ./...
	scripts/sbom.sh bin/caddy bin/caddy-logout.cdx.json
