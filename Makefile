# `make` alone lists the targets. Everything is installed into .venv from the locks in requirements/.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

# `##` after a target is what it does for a user, `###` for a developer.
help:  ## List the targets
	@echo 'To use Tract:'
	@grep -hE '^[a-z-]+:.*[^#]## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20
	@echo 'To work on it:'
	@grep -hE '^[a-z-]+:.*### ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*### /  make \1\t/' | expand -t 20

# Says by itself whether there is anything to do: locks change, and checkouts are moved.
INSTALL := $(PYTHON) requirements/install.py

install:  ## Make .venv, or mend it, and install what it needs to run
	@$(INSTALL)

dev:  ### Install what tests and lint need too; the targets below do it by themselves
	@$(INSTALL) dev

run: install  ## Everything, from nothing to predictions: stack, producer, event, consumer
	@$(BIN)/tract run

up: install  ## Start S3 and Postgres
	@$(BIN)/tract up

ui: install  ## Start Dagster too, and say where its UI is
	@$(BIN)/tract ui

mlflow: mlflow-install  ## Start MLflow too, and log every version there from then on
	@$(BIN)/tract mlflow

# The client beside us, the server apart in .venv/mlflow.
mlflow-install:
	@$(INSTALL) mlflow

boosting:  ## Install LightGBM too, which learns from every row (docs/learning.md#every-row)
	@$(INSTALL) boosting

down: install  ## Stop what was started here; the data stays in .lake/
	@$(BIN)/tract down

connect: install  ## Use the S3 and Postgres that TRACT_S3_* and TRACT_POSTGRES_* name (docs/settings.md has the table)
	@$(BIN)/tract connect

status: install  ## Show what runs, what was published and learned, who serves, drift and sizes
	@$(BIN)/tract status

shell: install  ## A Python prompt with the lake attached as `con`
	@$(BIN)/python -i -c "from ml import lake; con = lake.connect(); print(con.sql('show all tables').select('schema, name'))"

card: install  ## Save the champion's model card as card.html (EXPOSURE=… where there are several models)
	@$(BIN)/tract card $(EXPOSURE)

docs: up  ## Write dbt's docs of the lake as one file, and say where it is
	@$(BIN)/tract docs

# Its tools are apart, in .venv/site. That they are mended until 2027, they print otherwise; pyproject.toml says so.
site: export NO_MKDOCS_2_WARNING = 1
site:  ### Build these docs as a site of files in site/, with a page of the API; a link that leads nowhere fails
	@$(INSTALL) site
	@PATH="$(CURDIR)/.venv/site/bin:$$PATH" mkdocs build --strict  # --quiet would let warnings pass
	@echo 'The site is site/index.html.'

# PYTEST=--durations=40 shows more of the slowest
test: dev  ### Run every test on a stack of its own; ml is to be covered to 90 %
	@$(BIN)/python -m pytest --cov $(PYTEST)

quick: dev  ### Run the tests that need no server, no dbt and few seconds: for while you work
	@$(BIN)/python -m pytest --quick

browser: dev  ### See Dagster's UI as a person does, in chromium; pictures of it go to .ci/artifacts
	@$(BIN)/python -m pytest -m browser -n 0

pictures: dev  ### Make the pictures of Dagster's UI in docs/ again, in chromium, on a stack of their own
	@$(BIN)/python -m tests.browser.pictures docs

# KILLS=0.1 does a tenth of the random kills, KILLS_SECONDS=240 what fits; FAULTS=tests/faults/test_storage.py is a part
faults: dev  ### Kill and break things one at a time, and see that nothing is lost (an hour)
	@$(BIN)/python -m pytest -m faults -n 0 $(FAULTS)

storm: dev  ### Kill builds, runs and Dagster at random while two builders publish (ten minutes)
	@$(BIN)/python -m pytest -m storm -n 0

latency: dev  ### Measure the way from a build to its predictions on the running stack, stage by stage
	@$(BIN)/python -m tests.bench.latency

# The client beside us; Sail, a server of Spark Connect without a JVM, in .venv/sail; Spark itself in .venv/spark-server.
spark-install:
	@$(INSTALL) dev spark sail spark-server

# SAIL=/opt/sail/bin/sail and SPARK=/opt/environment take others; without Java what needs a cluster is skipped
spark: spark-install  ### Run the tests of an engine beside DuckDB, on Sail and on a cluster of Spark
	@$(BIN)/python -m pytest -m spark -n 0

# Spark ML and H2O, 840 MB in .venv/rivals, which `make bench` measures too where they are; they need Java.
rivals:  ### Install what `make bench` can measure ours against
	@$(INSTALL) dev rivals

# MILLIONS="1 10" measures less; the whole takes an hour and 30 GB of disk
bench: dev  ### Measure learning against scikit-learn, the recipe we start from and a bare copy
	@$(BIN)/python -m tests.bench.learning $(if $(MILLIONS),--millions $(MILLIONS))

# BUDGET=60 searches less; the whole takes half an hour
leaderboard:  ### Measure how accurate the specs' recipes are, beside CatBoost and ridge (`make run` first)
	@$(INSTALL) dev leaderboard
	@$(BIN)/python -m tests.bench.leaderboard $(if $(BUDGET),--seconds $(BUDGET))

# Nothing need run: SQL is compiled against the target `lint` of profiles.yml, an empty lake in memory. The package
# dbt_project/tract is checked as the dbt project that it is by itself too.
lint: dev  ### Check style, types, layers, SQL, and that dbt's models and macros are described
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/sqlfluff lint --disable-progress-bar $(filter-out %/tract/ %/__pycache__/,$(wildcard dbt_project/*/))
	@DBT_PROJECT_DIR=dbt_project/tract $(BIN)/sqlfluff lint --disable-progress-bar dbt_project/tract
	@$(BIN)/dbt --quiet --warn-error parse --target lint --target-path target/lint
	@$(BIN)/dbt-score lint --manifest target/lint/manifest.json --fail-project-under 9.0
	@$(BIN)/dbt --quiet --warn-error parse --project-dir dbt_project/tract --profiles-dir . --target lint --target-path $(CURDIR)/target/lint-tract
	@$(BIN)/dbt-score lint --manifest target/lint-tract/manifest.json --fail-project-under 9.0

# Where the index is a mirror without PyPI's JSON API, it says that it found nothing out.
audit: install  ### Ask for known weaknesses of the versions that the locks name
	@for lock in run mlflow-server site; do $(BIN)/uv tool run pip-audit --require-hashes --disable-pip -r requirements/$$lock.lock || exit 1; done

exposures: dev  ### Write docs/exposures.md and its JSON Schema anew from ml/spec.py
	@$(BIN)/python -m orchestration.commands.schema

hooks: dev  ### Run ruff, mypy and sqlfluff before each commit
	@$(BIN)/pre-commit install

# All that meets in one .venv is resolved at once; a lock says what it adds to run.lock. The versions that the locks name
# are kept: UPGRADE=--upgrade takes the newest instead.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-strip-extras --no-annotate --no-header
# What an engine's tasks import is exactly what .venv has.
TASKS := duckdb|scikit-learn|joblib|scipy|numpy|pyarrow|pydantic|pydantic-core|threadpoolctl|psycopg2-binary
lock: install  ### Resolve the locks anew from pyproject.toml (UPGRADE=--upgrade for the newest versions)
	@cd requirements && cat run.lock dev.lock mlflow.lock boosting.lock leaderboard.lock spark.lock > ../.venv/all.lock
	@$(COMPILE) $(UPGRADE) --all-extras pyproject.toml -o .venv/all.lock
	@$(COMPILE) -c .venv/all.lock pyproject.toml -o requirements/run.lock
	@for extra in dev mlflow boosting leaderboard spark; do \
	  $(COMPILE) -c .venv/all.lock --extra $$extra pyproject.toml -o requirements/$$extra.lock \
	    $$(sed -nE 's/^([a-z0-9._-]+).*==.*/--no-emit-package \1/p' requirements/run.lock) || exit 1; \
	done
	@$(COMPILE) $(UPGRADE) --group install -o requirements/install.lock
	@$(COMPILE) $(UPGRADE) --group mlflow-server --python-version 3.11 -o requirements/mlflow-server.lock
	@$(COMPILE) $(UPGRADE) --group site -o requirements/site.lock
	@$(COMPILE) $(UPGRADE) --group rivals -o requirements/rivals.lock
	@sed -nE 's/^(($(TASKS))==.*) \\$$/\1/p' requirements/run.lock > .venv/tasks.txt
	@for server in sail spark-server; do \
	  $(COMPILE) $(UPGRADE) --group $$server -c .venv/tasks.txt -o requirements/$$server.lock || exit 1; \
	done

.PHONY: help install dev mlflow-install boosting run up ui mlflow down connect status shell card test quick browser pictures faults storm latency spark-install spark rivals bench leaderboard lint audit exposures hooks docs site lock
