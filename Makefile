# make demo    simulate particles of adenylate kinase, fit them, export the structures, compare with the truth
# make check   linter, formatter, types and quick tests
# make test    the same and all other tests
# make docs    the documentation as a site, in site/: open site/index.html
# All set up everything they need in .venv, once; PYTHON=... chooses the interpreter.

VENV := .venv
# a test file stays on one core as long as the other has work of its own: what a file shares is made once
TESTS := $(VENV)/bin/python -m pytest -n auto --dist worksteal
PYTHON ?= python3 python3.13 python3.12 python3.11 python

.PHONY: demo check test lint docs clean

demo: $(VENV)/installed
	$(VENV)/bin/python examples/demo.py demo

check: lint
	$(TESTS) -m "not seconds and not slow and not long"

test: lint
	$(TESTS) -m "not slow and not long"
	$(TESTS) -m slow

lint: $(VENV)/installed
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet
	@echo "the site is in site/: open $(CURDIR)/site/index.html"

# anew only where the dependencies have changed: the package itself is installed in place
$(VENV)/installed: pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
	  if $$python -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "found no Python 3.11 or newer with venv (tried: $(PYTHON)); install one, or say where it is: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	echo "installing into $(VENV) with $$($$found --version)"; \
	$$found -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) demo site tests/node_modules
