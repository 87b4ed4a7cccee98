# make lab    read and run the notebooks      make test   every test
# make quick  the library's tests alone       make notebooks  execute them into their committed state
PYTHON   ?= python3
VENV     ?= .venv
LAB_ARGS ?=
BIN      := $(VENV)/bin

.PHONY: lab test quick notebooks oldest
.DELETE_ON_ERROR:

lab: $(VENV)/lab.installed
	$(BIN)/jupyter lab $(LAB_ARGS) notebooks/00_start_here.ipynb

test: $(VENV)/test.installed
	$(BIN)/python -m pytest

quick: $(VENV)/test.installed
	$(BIN)/python -m pytest -m "not notebook and not browser"

notebooks: $(VENV)/test.installed
	$(BIN)/python tests/notebook_state.py

oldest: $(VENV)-oldest/installed
	$(VENV)-oldest/bin/python -m pytest -m "not notebook and not browser and not style"

# A stamp is younger than pyproject.toml exactly when what it stands for is installed.
$(VENV)/%.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@

$(VENV)-oldest/installed: pyproject.toml tests/oldest.py | $(VENV)-oldest/bin/python
	$(VENV)-oldest/bin/python tests/oldest.py > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python -m pip install --quiet --editable ".[test]" --constraint $(VENV)-oldest/constraints.txt
	touch $@

$(VENV)/bin/python $(VENV)-oldest/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("capsedu needs Python 3.11 or newer, and $(PYTHON) is %d.%d: try `make PYTHON=python3.12`" % v[:2])'
	$(PYTHON) -m venv $(@:/bin/python=)
