# unbundle's task runner. `make help` lists what it can do; everything runs in .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Nothing that a package offers to report about its users is reported.
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo orchestrate test check format constraints clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11\
	 or name yours: make PYTHON=python3.12 demo" >&2; exit 1; }
	@echo "installing into $(VENV) (some minutes, once)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@# Python compiles what it imports; compiling all of it here would take a minute more.
	@$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt \
		-e '.[train,orchestrate,dev]'
	@touch $@

demo: $(VENV)/.installed ## train on the demo catalogue, promote, answer a bundle photo
	@dvc repro
	@unbundle promote
	@python -m tasks.demo.answer_a_photo

orchestrate: $(VENV)/.installed ## start server, worker and deployments; Ctrl-C stops them
	@exec python -m flows.prefect.run_server_and_worker

test: $(VENV)/.installed ## run the tests; PYTEST=--require-browser: the page's, too, or fail
	@# The flows' servers often wait, so they run beside the rest; each takes one core.
	@export OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 OMP_NUM_THREADS=1; \
	log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	pytest tests/flows >$$log 2>&1 & flows=$$!; \
	pytest --ignore=tests/flows $(PYTEST); rest=$$?; \
	wait $$flows; walked=$$?; cat $$log; exit $$((rest + walked))

check: $(VENV)/.installed ## lint, format, types, import contracts, containers
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports
	@hadolint infra/Dockerfile infra/worker.Dockerfile
	@kubernetes-validate --strict --quiet infra/kubernetes/*.yaml
	@PREFECT_AUTH=user:password docker-compose -f infra/compose.yaml config --quiet

format: $(VENV)/.installed ## format and repair what ruff can
	@ruff format .
	@ruff check --fix .

constraints: $(VENV)/.installed ## pin what is installed now for everyone
	@echo "# What CI installs, exactly: 'make constraints' after a change of pyproject.toml." \
		> constraints.txt
	@pip freeze --exclude-editable | sed 's/+cpu$$//' >> constraints.txt

clean: ## delete everything that stages made (not the environment)
	@rm -rf data artifacts metrics reports rankings demo dvc.lock .dvc/cache .dvc/tmp
