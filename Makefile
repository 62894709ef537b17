# `make run` installs and runs the whole study. `make test` installs and tests. `make help` lists all.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CORES ?= all
# Use the tools and programs of .venv, also if it is not activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
  "error: Python 3.11 or later is needed; for example make run PYTHON=python3.11")'

# Snakemake looks for its plugins, such as our line of the run, where Python looks for packages.
SNAKEMAKE := PYTHONPATH=$(CURDIR)/workflow_scripts$${PYTHONPATH:+:$$PYTHONPATH} snakemake

DOSES ?= 0 0.5 1
ENTANGLED := experiments/entangled
OUT ?= results/comparison.html

.PHONY: run report entangled compare test test-slurm reference docs links lint format clean help

run: .venv/installed  ## run the default experiment into results/ (CORES=1: one core)
	$(SNAKEMAKE) --cores $(CORES) all --logger excise

report: .venv/installed  ## how the results were made: results/provenance.zip (after `make run`)
	snakemake --cores 1 all --report results/provenance.zip

entangled: .venv/installed  ## positive control: the study with planted entanglement, in three doses
	@for dose in $(DOSES); do \
	  folder=$(ENTANGLED)/dose_$$dose; \
	  $(SNAKEMAKE) --cores $(CORES) --configfile=$(ENTANGLED).yaml \
	    --config "generation={entanglement: $$dose}" "pathvars={data: $$folder/data, \
	    results: $$folder/results, logs: $$folder/logs, benchmarks: $$folder/benchmarks}" \
	    --logger excise -- $$folder/results/retain_compare_results.json; \
	done
	python workflow_scripts/compare_doses.py --runs $(DOSES:%=$(ENTANGLED)/dose_%) \
	  --out $(ENTANGLED)/results/entanglement_response.json

compare: .venv/installed  ## one page of several experiments: RESULTS="results experiments/smoke/results"
	@test -n "$(RESULTS)" || { echo 'error: RESULTS: none given; name two results folders' >&2; exit 1; }
	python workflow_scripts/compare_experiments.py --results $(RESULTS) --out $(OUT)

test: .venv/installed lint  ## linters, then unit and workflow tests
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm"

test-slurm: .venv/installed  ## test the real DAG on a real SLURM on this machine (root, Debian)
	python -m pytest tests/slurm

reference: .venv/installed  ## write config/README.md and docs/reference from the code
	python docs/make_reference.py

docs: .venv-docs/installed  ## build the documentation as pages: site/index.html
	.venv-docs/bin/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet docs site

links: .venv-docs/installed  ## check the links to other sites (needs the network)
	.venv-docs/bin/sphinx-build -b linkcheck --keep-going --quiet docs site/links

lint: .venv/installed
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: .venv/installed  ## format Python and Snakemake files
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

clean:  ## delete generated files of the default experiment, but no environment and no paid answers
	rm -rf results logs benchmarks data/.made_from data/generated/*.json* data/*.jsonl .snakemake

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# A stamp file: install again only when the pinned versions change.
.venv/installed: requirements.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --requirement requirements.txt
	python -m pip install --quiet --no-deps --editable .
	touch $@

# An environment of its own, so that the documentation changes no package of the study.
.venv-docs/installed: requirements-docs.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --requirement requirements-docs.txt
	touch $@
