# `make` alone lists the targets. Everything is installed into .venv from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

# `##` after a target is what it does for a user, `###` for a developer.
help:  ## List the targets
	@echo 'To use Tract:'
	@grep -hE '^[a-z-]+:.*[^#]## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@echo 'To work on it:'
	@grep -hE '^[a-z-]+:.*### ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*### /  make \1\t/' | expand -t 20

install: .venv/installed  ## Make .venv and install what the lock names

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Tract needs Python 3.11 to 3.13, and $(PYTHON) is `$(PYTHON) --version 2>&1`: say make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv: 0.7 GB, some minutes the first time; pip is told to be quiet"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/dbt --quiet deps
	@touch $@

run: install  ## Everything, from nothing to predictions: stack, producer, event, consumer
	@$(BIN)/python -m orchestration.commands.run

up: install  ## Start S3 and Postgres
	@$(BIN)/python -m orchestration.stack up

ui: install  ## Start Dagster too, and say where its UI is
	@$(BIN)/python -m orchestration.stack ui

mlflow: install .venv/mlflow/installed  ## Start MLflow too, and log every version there from then on
	@$(BIN)/python -m orchestration.stack mlflow

# The client beside us, the server apart: it wants an older pyarrow.
.venv/mlflow/installed: requirements-mlflow.lock requirements-mlflow-server.lock .venv/installed
	@echo "Installing MLflow's client into .venv, its server into .venv/mlflow"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mlflow.lock
	@test -x .venv/mlflow/bin/python || $(BIN)/python -m venv .venv/mlflow
	@.venv/mlflow/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mlflow-server.lock
	@touch $@

down: install  ## Stop what was started here; the data stays in .lake/
	@$(BIN)/python -m orchestration.stack down

connect: install  ## Use the S3 and Postgres that TRACT_S3_* and TRACT_POSTGRES_* name (README has the table)
	@$(BIN)/python -m orchestration.stack connect

status: install  ## Show what runs, what was published and learned, who serves, drift and sizes
	@$(BIN)/python -m orchestration.commands.status

shell: install  ## A Python prompt with the lake attached as `con`
	@$(BIN)/python -i -c "from ml import lake; con = lake.connect(); print(con.sql('show all tables').select('schema, name'))"

card: install  ## Save the champion's model card as card.html (EXPOSURE=… where there are several models)
	@$(BIN)/python -m orchestration.commands.card card.html $(EXPOSURE)

docs: up  ## Write dbt's docs of the lake as one file, and say where it is
	@$(BIN)/python -m orchestration.commands.docs

test: install  ### Run every test on a stack of its own; ml is to be covered to 90 %
	@$(BIN)/python -m pytest --cov

browser: install  ### See Dagster's UI as a person does, in chromium; pictures of it go to .ci/artifacts
	@$(BIN)/python -m pytest -m browser -n 0

pictures: install  ### Make the README's pictures of Dagster's UI again, in chromium, on a stack of their own
	@$(BIN)/python -m tests.browser.pictures docs

faults: install  ### Kill and break things one at a time, and see that nothing is lost (seven minutes)
	@$(BIN)/python -m pytest -m faults -n 0

storm: install  ### Kill builds, runs and Dagster at random while two builders publish (ten minutes)
	@$(BIN)/python -m pytest -m storm -n 0

latency: install  ### Measure the way from a build to its predictions on the running stack, stage by stage
	@$(BIN)/python -m tests.bench.latency

# MILLIONS="1 10" measures less; the whole takes an hour and 30 GB of disk
bench: install  ### Measure learning against scikit-learn, the recipe we start from and a bare copy
	@$(BIN)/python -m tests.bench.learning $(if $(MILLIONS),--millions $(MILLIONS))

# BUDGET=60 searches less; the whole takes half an hour
leaderboard: install .venv/leaderboard  ### Measure how accurate the specs' recipes are, beside CatBoost and ridge (`make run` first)
	@$(BIN)/python -m tests.bench.leaderboard $(if $(BUDGET),--seconds $(BUDGET))

.venv/leaderboard: requirements-leaderboard.lock .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-leaderboard.lock
	@touch $@

# Nothing need run: SQL is compiled against the target `lint` of profiles.yml, an empty lake in memory. The package
# dbt_project/tract is checked as the dbt project that it is by itself too.
lint: install  ### Check style, types, SQL, and that dbt's models and macros are described
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar $(filter-out %/tract/ %/__pycache__/,$(wildcard dbt_project/*/))
	@DBT_PROJECT_DIR=dbt_project/tract $(BIN)/sqlfluff lint --disable-progress-bar dbt_project/tract
	@$(BIN)/dbt --quiet --warn-error parse --target lint --target-path target/lint
	@$(BIN)/dbt-score lint --manifest target/lint/manifest.json --fail-project-under 9.0
	@$(BIN)/dbt --quiet --warn-error parse --project-dir dbt_project/tract --profiles-dir . --target lint --target-path $(CURDIR)/target/lint-tract
	@$(BIN)/dbt-score lint --manifest target/lint-tract/manifest.json --fail-project-under 9.0

hooks: install  ### Run ruff, mypy and sqlfluff before each commit
	@$(BIN)/pre-commit install

# pip with hashes wants extras to be named where they are pinned, so they are not stripped.
lock: install  ### Resolve the four locks anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --extra dev pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --extra mlflow -c requirements.lock pyproject.toml -o requirements-mlflow.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --extra leaderboard -c requirements.lock pyproject.toml -o requirements-leaderboard.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --python-version 3.11 --group mlflow-server -o requirements-mlflow-server.lock

.PHONY: help install run up ui mlflow down connect status shell card test browser pictures faults storm latency bench leaderboard lint hooks docs lock
