# make lab        read and run the notebooks (LAB_ARGS is passed on to JupyterLab)
# make test       every test
# make quick      the library's tests alone, in about a minute
# make notebooks  execute the notebooks into their committed state
# make oldest     the library's tests, the long ones too, on the oldest versions promised
PYTHON   ?= python3
VENV     ?= .venv
LAB_ARGS ?=
QUICK    ?= not notebook and not browser and not style and not explorer and not nbgrader and not sweep
BIN      := $(VENV)/bin

.PHONY: help lab test quick notebooks oldest

help:
	@sed -n 's/^# make/make/p' Makefile

lab: $(VENV)/lab.installed
	$(BIN)/python -m jupyterlab --notebook-dir=. $(LAB_ARGS) notebooks/00_start_here.ipynb

test: $(VENV)/test.installed
	$(BIN)/python -m pytest

quick: $(VENV)/test.installed
	$(BIN)/python -m pytest --numprocesses auto -m "$(QUICK)"

notebooks: $(VENV)/test.installed
	$(BIN)/python tests/notebook_state.py

oldest:
	$(check_python)
	pins=$$($(PYTHON) tests/oldest.py) && $(MAKE) quick VENV=.venv-oldest PINS="$$pins" QUICK="not notebook and not browser and not style and not nbgrader"

# The stamp is touched last, so it is newer than pyproject.toml only when everything is installed.
# An environment without a working pip was cut short while it was made, and is made again.
$(VENV)/%.installed: pyproject.toml
	$(check_python)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --editable ".[$*]" $(PINS)
	@touch $@ $(VENV)/lab.installed  # the test extra contains the lab extra

define CHECK_PYTHON
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11):
    sys.exit("capsedu needs Python 3.11 or newer, and $(PYTHON) is %s: try make PYTHON=python3.12" % version)
try:
    import ensurepip
except ImportError:
    sys.exit("$(PYTHON) can make no environment: on Debian or Ubuntu, apt install python%s-venv" % version)
endef
export CHECK_PYTHON
check_python = @$(PYTHON) -c "$$CHECK_PYTHON"
