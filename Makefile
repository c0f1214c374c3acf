# make up      a cluster with Penstock, and the quickstart on it, under live traffic
# make test    every test
# make check   format, lint, types, import contracts, chart: seconds
# make down    removes all of it
.DEFAULT_GOAL := help
.PHONY: help up install quickstart down test check format setup tools images docs grpc-schema env bench-router bench-judge bench-judge-live bench-serving bench-drift bench-scale fuzz soak
PYTHON ?= python3
CLUSTER ?=
RESULTS := benchmarks/results
export CLUSTER PYTHON

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

up:  ## a cluster with Penstock, and the quickstart under live traffic (CLUSTER=current|kind|embedded)
	@$(PYTHON) cluster/provision.py -- $(PYTHON) examples/quickstart/quickstart.py --rate 450 --requests 50000 \
		--figures $(RESULTS)/quickstart.json
	@$(PYTHON) cluster/next_steps.py

install:  ## a cluster with Penstock, without the quickstart
	@$(PYTHON) cluster/provision.py

down:  ## remove the cluster and every trace of it (the programs built stay cached; PURGE=1 removes them too)
	@$(PYTHON) cluster/embedded down $(if $(PURGE),--purge-cache)

test: setup  ## every test, cluster included
	@.venv/bin/python -m cluster.run_tests

check: setup  ## format, lint, types, import contracts, chart
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache >.lint-imports.log || { cat .lint-imports.log; exit 1; }
	@$(PYTHON) cluster/lint_chart.py

format: setup  ## format the code
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

setup:  ## the Python environment .venv
	@cluster/prepare-venv

tools:  ## build kubectl, helm, etcd and the Kubernetes programs into the cache
	@$(PYTHON) cluster/embedded tools

images:  ## build the images and load them into the embedded cluster
	@$(PYTHON) cluster/embedded images

env:  ## print what a shell needs: eval "$$(make -s env)"
	@$(PYTHON) cluster/embedded env

docs: setup  ## the generated pages of docs/
	.venv/bin/python docs/generate.py
	.venv/bin/python docs/draw_rollout.py

grpc-schema: setup  ## compile the server's .proto files, after a change of one
	cd serving-image/src/penstock_server/grpc_service/schema && $(CURDIR)/.venv/bin/python -m grpc_tools.protoc -I . \
	  --descriptor_set_out=/dev/stdout $$(find . -name '*.proto' -printf '%P\n' | LC_ALL=C sort) | base64 >../schema.b64

bench-judge: setup  ## the judge side by side with the rules of other controllers (BENCH="--runs 100" and other options)
	nice .venv/bin/python -m benchmarks.judge $(BENCH)

bench-judge-live: setup  ## the judge on a cluster: 24 rollouts of good and bad models under traffic (BENCH="--only x4" and other options)
	@$(PYTHON) cluster/provision.py -- .venv/bin/python -m benchmarks.judge.live $(BENCH)

bench-drift: setup  ## drift detection side by side with other tools (BENCH="--only penstock" and other options)
	nice .venv/bin/python -m benchmarks.drift $(BENCH)

bench-scale: setup  ## 200 rollouts at once: how late ticks are, what the operator costs (SCALE="--sizes 50" and other options)
	.venv/bin/python -m benchmarks.scale $(SCALE)

bench-router: setup  ## what the router adds to a request
	.venv/bin/python benchmarks/router_overhead.py

bench-serving: setup  ## the serving image's speed side by side with other servers (BENCH="--quick" and other options)
	.venv/bin/python -m benchmarks.serving $(BENCH)

SECONDS ?= 60
fuzz: setup  ## coverage-guided fuzzers of decoders, guard and connections (SECONDS=600 each; FUZZ="request http2" only these)
	.venv/bin/python -m tests.fuzz.run --seconds $(SECONDS) $(FUZZ)

soak: setup  ## ten minutes of good and bad traffic: does the memory stay flat? (SOAK="--seconds 60" and other options)
	.venv/bin/python -m benchmarks.soak $(SOAK)
