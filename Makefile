# PG_CONFIG names the server that is built for and installed into.
PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
export PG_CONFIG

.DEFAULT_GOAL := help
.PHONY: help setup install deb demo demo-stop test bench soak lint clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing needs (packages, cargo-pgrx)
	@scripts/setup.sh

install: ## build in release mode and install into the server of PG_CONFIG
	@scripts/install.sh

deb: ## make a Debian package for the server of PG_CONFIG, in target/deb/
	@scripts/deb.sh

demo: ## run a workflow on real data, kill the server half way, see that nothing is lost or done twice
	@scripts/demo.sh

demo-stop: ## stop the server that the demo left running
	@scripts/demo.sh stop

test: ## run all tests, on 15 (with assertions, too), 16 and 18 (some: scripts/test.sh core regress)
	@scripts/test.sh

bench: ## measure throughput and latency against yardsticks
	@bench/run.sh

soak: ## a mixed load for an hour, then look whether everything was done, and once
	@bench/soak.sh

lint: ## check format and lints
	@scripts/lint.sh

clean: ## remove what was built, and the clusters of demo and tests
	@scripts/clean.sh
