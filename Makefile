# The two commands are `make book` and `make test`; plain `make` lists the rest.

PYTHON ?= python3
PORT ?= 8000
MINUTES ?= 20
ROOT ?= data
OTHER ?= /usr/bin/python3
# What `make foreign` runs: the chapters that train something.
CHAPTERS ?= 00 01 02 04 05 06 08 09 10 11
# Where the lock installs; `make lint` asks a resolver.
PYTHONS := 3.11.0 3.12 3.13 3.14
PY := .venv/bin/python
READY := .venv/ready

.DEFAULT_GOAL := targets
.NOTPARALLEL:
.PHONY: targets install book test site-test student slides pdf release notebooks pair foreign robust other-python lint serve bench gpu-bench gpu-cifar10 gpu-stackedmnist address clean

targets:
	@echo "Targets of this Makefile:"
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | \
		while read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

# The environment is made once. $(READY) keeps what it was made from, so that a file that only
# looks newer (a fresh checkout, say) costs nothing and needs no network.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo 'This project needs Python 3.11 or newer, and "$(PYTHON)" is not.' \
			'Name another one: make $(or $(MAKECMDGOALS),book) PYTHON=/path/to/python3.12' >&2; exit 1; }
	@test -x .venv/bin/pip || $(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo '"$(PYTHON)" cannot make an environment: on Debian and Ubuntu, install python3-venv' \
			'(apt install python3-venv), then repeat: make $(or $(MAKECMDGOALS),book)' >&2; exit 1; }
	@if ! cat $^ | cmp -s - $@; then \
		$(PYTHON) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in "$(PYTHONS)")' || \
			echo 'Nobody has tried "$(PYTHON)" yet: constraints.txt is made for $(PYTHONS).'; \
		echo 'Installing the packages into .venv: about 6 GB, once, a few minutes.'; \
		{ test -x .venv/bin/pip || $(PYTHON) -m venv .venv; } && \
		$(PY) -m pip --disable-pip-version-check install -c constraints.txt -e '.[book,test]' && \
		cat $^ > $@; \
	else touch $@; fi

install: $(READY)  ## make .venv with everything in it (the other targets do this by themselves)

book: $(READY)  ## execute the notebooks that changed, build the site and check it
	$(PY) tools/build_book.py

test: $(READY)  ## test the library, then the stored outputs of every notebook
	$(PY) -m pytest
	$(PY) -m pytest --nbval notebooks/

# What only the browser tests need: Playwright, axe and Lighthouse, each by name. Chromium comes with
# the system.
BROWSER := _build/node/node_modules/lighthouse/package.json
$(BROWSER): Makefile
	npm install --no-fund --no-audit --prefix _build/node axe-core@4.14 lighthouse@12
	@touch $@

site-test: $(READY) $(BROWSER)  ## open every page of the built book in Chromium, operate the live pages
	$(PY) -m pip --disable-pip-version-check install -q -c constraints.txt -e '.[site]'
	$(PY) -m pytest tests/site

student: $(READY)  ## the notebooks without solutions, into _build/student
	$(PY) tools/student.py

slides: $(READY)  ## the slide deck, into _build/slides
	$(PY) tools/build_slides.py

pdf: $(READY)  ## the book as one PDF, into _build/book.pdf (after make book)
	$(PY) tools/print_book.py

release: student slides pdf  ## zips, PDF and checksums to publish, into _build/release
	$(PY) tools/release.py

notebooks: pair  ## run the notebooks that changed and store their outputs (CHAPTER=04 for one)
	$(PY) tools/store_outputs.py $(CHAPTER)

pair: $(READY)  ## carry edits of each notebook's .md over to its .ipynb, outputs kept
	$(PY) -m jupytext --to ipynb --update notebooks/[0-9]*.md

foreign: $(READY)  ## the chapters that train, as another processor and seed would (CHAPTERS="00 04" for some)
	$(PY) tools/foreign.py --chapters $(CHAPTERS)

robust: $(READY)  ## measure how widely every claim holds: for hours; the same line goes on after a stop
	$(PY) benchmarks/robust.py

other-python: $(READY)  ## the lock and the library's fast tests on OTHER=/usr/bin/python3
	$(PY) tools/other_python.py $(OTHER)

lint: $(READY)  ## style, spelling, pairs, address, numbers in prose, the lock on every Python
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m codespell_lib
	$(PY) tools/pairs.py
	$(PY) tools/set_address.py --check
	$(PY) tools/prose_numbers.py
	$(PY) tools/check_lock.py $(PYTHONS)

serve:  ## show the built book on http://127.0.0.1:8000 (PORT=... for another port)
	$(PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

# Needs a built book and what `make site-test` installs, for the live pages only.
bench: $(READY)  ## measure what needs neither a GPU nor a quarter of an hour; the tables in book/results
	$(PY) benchmarks/import_time.py --repeats 5 --store
	$(PY) benchmarks/train_step.py --compare --steps 6 --store
	$(PY) benchmarks/versions.py --rounds 6 --store
	$(PY) benchmarks/profile_step.py --steps 4 --store
	$(PY) benchmarks/memory.py --store
	-$(PY) benchmarks/live.py --store
	$(PY) benchmarks/book.py
	$(PY) benchmarks/table.py

gpu-bench: $(READY)  ## the image networks on a CUDA device, into book/results/gpu.json
	$(PY) benchmarks/gpu.py --out book/results/gpu.json

# DATA: a folder of images in place of the published files, which lie or go under ROOT.
gpu-cifar10: $(READY)  ## train on CIFAR-10 for MINUTES=20 of a CUDA device, into book/results (DATA=folder)
	$(PY) benchmarks/gpu_train.py --preset speedrun --minutes $(MINUTES) --out book/results/speedrun \
		$(if $(DATA),--data $(DATA),--root $(ROOT) --download) --flip

gpu-stackedmnist: $(READY)  ## the same on StackedMNIST, from MNIST under ROOT=data
	$(PY) benchmarks/gpu_train.py --preset stacked_mnist --minutes $(MINUTES) --root $(ROOT) --download \
		--set mixed_precision=bf16 --samples 26000 --out book/results/stacked_mnist_run

address:  ## write the public address of pyproject.toml wherever it is spelled out
	$(PYTHON) tools/set_address.py

clean:  ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .ruff_cache notebooks/.ipynb_checkpoints
	find ddgan_lite tools tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
