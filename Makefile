# Two commands do everything: `make` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2

.DEFAULT_GOAL := demo
.PHONY: demo test claims lint setup train lab pages bench clean help

demo: setup  ## train and evaluate on real solar cells (ELPV), leave a results page
	$(BIN)/mintad train --preset fast --data elpv --baselines padim,patchcore --out runs/elpv

# Workers share the cores: two whose PyTorch each takes all of them wait for each other most of the time.
test: export OMP_NUM_THREADS = 1
test: setup lint  ## lint, all tests, then every notebook
	$(BIN)/python -m pytest -p no:nbval -n $(JOBS)
	$(BIN)/mintad notebooks train --jobs $(JOBS)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --nbval-lax --nbval-cell-timeout 600 notebooks

claims: setup  ## the toy's claims on all shapes and seeds (about a minute)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m claims

lint: setup
	$(BIN)/ruff check .

train: setup  ## train what the notebooks share, so that they only load it (about 4 minutes)
	$(BIN)/mintad notebooks train --jobs $(JOBS)

lab: setup  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

pages: setup  ## execute the notebooks and write them as a site into site/; open site/index.html
	$(BIN)/mintad notebooks pages notebooks site

bench: setup  ## seconds per training step against UniAD's recipe
	$(BIN)/python benchmarks/step_time.py

setup: $(VENV)/.installed  ## make the virtual environment

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mintad needs Python 3.10 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	@echo "setting up $(VENV) (about 3 GB, a few minutes the first time) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:  ## remove the environment and all runs
	rm -rf $(VENV) runs

help:
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'
