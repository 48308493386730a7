# make demo    the article's network, drawn: sets up .venv first
# make quick   lint, types, and the tests of the core: under a minute
# make test    lint, types, every test:      sets up .venv first
# make bench   speed, next to micrograd, torch, autograd and plain NumPy
# make fuzz    random programs against torch and finite differences, for MINUTES=10
# make sick    47 trainings that break at a step in the thousands, and their twins: a while
# make tables  write docs/coverage.md and docs/conventions.md again
# make docs    the site, in docs/_build/html, and the tests that read it
# make dist    the sdist and the wheel, in dist/, checked as for a release
# make readme  draw the README's pictures again, and say where its texts are old
# make notebooks  run the notebooks again and keep their outputs
# make clean   remove all that the others made
#
# PYTHON picks the interpreter (3.11 or newer):  make test PYTHON=python3.13

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
PIP     = $(BIN)/python -m pip --disable-pip-version-check --quiet

# torch's CPU build, a tenth of the one on PyPI. Whoever gave pip sources of their own wants those.
TORCH_INDEX ?= $(if $(PIP_FIND_LINKS)$(PIP_INDEX_URL)$(PIP_EXTRA_INDEX_URL),,https://download.pytorch.org/whl/cpu)

.PHONY: demo docs dist quick test test-code test-browser lint lint-page lint-js bench fuzz sick tables readme notebooks clean

demo: $(VENV)/.installed
	$(BIN)/gradviz demo

test: $(VENV)/.installed-dev lint
	$(MAKE) --no-print-directory test-code
	$(MAKE) --no-print-directory test-browser

test-code: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto -m 'not browser and not site' $(PYTEST_ARGS)

test-browser: $(VENV)/.installed-dev  # one at a time: they wait for real programs
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS) tests/show tests/web

# What most changes would break: the mathematics, names, files, and a picture of each kind; without
# PyTorch, which takes as long to be loaded as many tests.
QUICK = $(addprefix tests/,test_saved.py test_operation.py test_version_0_1.py chain/test_backward.py \
  chain/test_formula.py chain/test_paths_and_reuse.py ops/test_points.py ops/test_degenerate.py \
  ops/test_properties.py record/test_trace.py record/test_names.py record/test_in_place.py \
  record/test_expression.py record/test_array.py show/test_text.py show/test_engine.py)

quick: $(VENV)/.installed-dev lint
	GRADVIZ_QUICK=1 $(BIN)/python -m pytest -n auto -q -k 'not torch' -m 'not browser and not slow and not site' $(QUICK) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev lint-page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# The page's modules, by tools that npm brings. A developer may go without; CI may not.
lint-page:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-js; \
	elif [ "$$CI" = true ]; then echo 'npm is needed here.' >&2; exit 1; \
	else echo "No npm: the page's modules are not checked."; fi

lint-js: node_modules/.installed
	node_modules/.bin/biome check --error-on-warnings
	node_modules/.bin/tsc

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/web.py

notebooks: $(VENV)/.installed-dev
	$(BIN)/python scripts/notebooks.py

MINUTES ?= 10
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES)

sick: $(VENV)/.installed-dev
	$(BIN)/python tests/record/sick_battery.py

tables: $(VENV)/.installed-dev
	$(PIP) install jax
	$(BIN)/python scripts/coverage_table.py
	$(BIN)/python scripts/conventions_table.py

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -E -j auto -b html docs docs/_build/html
	$(BIN)/python -m pytest -q -m site tests/test_site.py

dist: $(VENV)/.installed-dev
	$(PIP) install --editable '.[release]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

readme: $(VENV)/.installed-dev
	$(BIN)/python scripts/readme.py

clean:
	rm -rf $(VENV) build dist node_modules gradviz-demo .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: install again only when pyproject.toml, or package.json, has changed.
node_modules/.installed: package.json
	npm install --no-package-lock --no-audit --no-fund --silent
	@touch $@

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(PIP) install $(addprefix --extra-index-url ,$(TORCH_INDEX)) --editable '.[bench,test]'
	@$(PIP) install --editable '.[pdf]' || echo 'No PDF library for this system: the tests of PDF skip.'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	$(PIP) install --editable '.[docs]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gradviz needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.13" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
