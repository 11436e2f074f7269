# Koppelpunt. `make demo` and `make test` need nothing prepared: `setup` does it.
VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=

# Installs a package where we may (as root, with apt), and says so.
apt = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing $(1) ..." && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; }

# What a person has to do who may not; with what comes after it, so that one round is enough.
by_hand = Install it (Debian, Ubuntu: sudo apt-get install $(1) rabbitmq-server) and try again.

.PHONY: setup demo test lint bench clean

setup: $(VENV)/.ready
	@$(PY) run.py prepare

$(VENV)/.ready: pyproject.toml
	@command -v python3 >/dev/null || $(call apt,python3) || { echo "Python 3.11 or newer is needed. $(call by_hand,python3 python3-venv)"; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$(python3 --version)."; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null || $(call apt,python3-venv) || { echo "Python cannot make a virtual environment. $(call by_hand,python3-venv)"; exit 1; }
	@python3 -m venv $(VENV)
	@echo "Installing Python packages into $(VENV) ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup
	@$(PY) run.py demo $(ARGS)

test: $(VENV)/.ready
	@$(PY) run.py prepare --tests
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: setup
	@$(PY) run.py bench $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
