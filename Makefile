# `make` or `make help` lists the tasks. Continuous integration runs the same ones: .ci/run.

CARGO ?= cargo

# The directory with the programs that the tests run against; builds what is missing. A recipe must not
# write VAR="$$(…)" in front of a command: the shell would run the command even if the build failed.
WITH_TOOLS = tools="$$(tests/tools/build $(TOOL_GROUPS))" && TIDEWAITER_TOOLS="$$tools"
# How long each target is fuzzed.
FUZZ_SECONDS ?= 60
# Groups of further programs, for targets that need them.
TOOL_GROUPS =

.DEFAULT_GOAL := help
.PHONY: help demo test test-sigstore test-scanners test-cluster fuzz lint deny crds bench bench-quick play tools clean-tools

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## See the whole product at work on this machine: no cluster, no network
	@$(CARGO) build --locked
	@$(CARGO) run --quiet --locked -- demo

test: ## Run every test, those against a real API server included
	@$(WITH_TOOLS) TIDEWAITER_REQUIRE_TOOLS=1 $(CARGO) test --locked

test-sigstore: TOOL_GROUPS = sigstore
test-sigstore: ## Run the tests against a private Sigstore, which needs more programs than `make test`
	@$(WITH_TOOLS) TIDEWAITER_REQUIRE_TOOLS="1 sigstore" $(CARGO) test --locked --test it -- sigstore::

test-scanners: TOOL_GROUPS = scanners
test-scanners: ## Run the tests with real Trivy and Grype, which take their time to build
	@$(WITH_TOOLS) TIDEWAITER_REQUIRE_TOOLS="1 scanners" $(CARGO) test --locked --test it -- scanners::

test-cluster: TOOL_GROUPS = scanners
test-cluster: ## Run the tests that need nodes, in a cluster as tests/with-cluster finds it
	@$(CARGO) test --locked --test it --no-run
	@$(WITH_TOOLS) tests/with-cluster $(CARGO) test --locked --offline --test it -- cluster_jobs:: --test-threads 1

fuzz: ## Fuzz each reader of scan reports for FUZZ_SECONDS, from seeds that it makes itself
	@CARGO="$(CARGO)" FUZZ_SECONDS="$(FUZZ_SECONDS)" fuzz/run

lint: ## Check formatting, lints and documentation; a warning is a failure
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked

deny: ## Check the dependencies: bans, licences, sources, advisories
	@.ci/deny

crds: ## Write the custom resource definitions to crds/
	@$(CARGO) run --quiet --locked -- crds --dir crds

bench: ## Measure, and compare with the floor
	$(CARGO) bench --locked --bench '*'

bench-quick: ## Measure briefly: shows that the benchmarks run, not how fast
	$(CARGO) bench --locked --bench '*' -- --quick

play: ## Start a real API server with Tidewaiter's webhooks, and try it with kubectl (Ctrl-C ends it)
	@$(CARGO) build --locked --bin tidewaiter --example play
	@$(WITH_TOOLS) $(CARGO) run --quiet --locked --example play

tools: ## Build the programs that the tests run against, and print where they are
	@tests/tools/build

clean-tools: ## Remove the programs that `make tools` built
	@tests/tools/build --clean
