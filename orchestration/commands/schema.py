"""What an exposure may say, for editors as JSON Schema and for people as a page: both are made from `ml.spec`.

`make exposures` writes them below docs/; `tract schema` prints the first.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ml.occasions import OCCASIONS
from ml.spec import BacktestSpec, CandidateSpec, FeaturesSpec, NotifySpec, PredictionsSpec, Range, SearchSpec, Spec

DOCS = Path(__file__).resolve().parents[2] / "docs"
JINJA = {"type": "string", "pattern": r"\{\{"}  # dbt renders it before anything is checked

PAGE = """\
# Exposures

An exposure of `type: ml` asks for a model: it depends on the table to learn from, which needs an enforced contract, and
says the rest under `config: meta: ml:`. Unknown and contradictory settings are errors at dbt's start, all at once.

```yaml
exposures:
  - name: order_values
    type: ml
    owner: {{name: Ann, email: ann@example.com}}
    depends_on: [ref('orders')]
    config:
      meta:
        ml:
          key: order_id
          target: value
          candidates: [ridge, gradient_boosting]
```

Features are the contract's columns less key, target, group, time and weight, and less what other exposures on the table
predict: numbers, booleans, dates and timestamps, texts and enums, each with NULL or without. Columns of other types
are named in `features: {{exclude: […]}}`. The target is a number (`task: regression`), or a boolean, a text or an enum,
which has classes (`task: classification`, which integers may be, too); a row where it is NULL is predicted, and not
learned from.

An editor completes and checks these settings by [a JSON Schema](exposures.schema.json): `tract schema >
exposures.schema.json`, and as the first line of the YAML file `# yaml-language-server: $schema=exposures.schema.json`.

{tables}
This page and the schema are made from `ml/spec.py` by `make exposures`.
"""

TABLES: dict[type[BaseModel], str] = {
    Spec: "## `ml`",
    FeaturesSpec: (
        "## `features`\n\nWithout it, features are the contract's columns less key, target, group, time and weight."
    ),
    BacktestSpec: (
        "## `backtest`\n\nOf `split: time`: rows are cut by time into periods of about equal numbers of rows, one more "
        "than folds;\neach but the first is judged by a fit on [what came before it](learning.md#time)."
    ),
    PredictionsSpec: (
        "## `predictions`\n\nThe name of a table, or a mapping. What stands is the view `current_<table>` "
        "beside it;\nmaintenance deletes each night what is not kept."
    ),
    NotifySpec: (
        "## `notify`\n\nA mapping, or a list of such; `[]` tells nobody. For all exposures that do not say it, it "
        "stands once in `dbt_project.yml`:\n`vars: {tract: {notify: …}}`. How it is sent, [operating.md](operating.md#"
        "people-are-told) says.\n\n| `on` | what is told |\n|---|---|\n"
        + "\n".join(f"| `{occasion}` | {what} |" for occasion, what in OCCASIONS.items())
    ),
    CandidateSpec: (
        "## `candidates`\n\nA list; each is `ridge` (of numbers), `logistic` (of classes), `gradient_boosting`, or as "
        "below. With `max_rows: all`,\n`lightgbm.LGBMRegressor` and `lightgbm.LGBMClassifier` learn from "
        "[every row](learning.md#every-row)."
    ),
    SearchSpec: "## `search`\n\nOf a candidate: what the job `search_…` and `tract search` may choose anew.",
    Range: "## `space`\n\nA parameter's list of values, or a range, of whole numbers if both ends are whole:",
}


def schema() -> dict[str, Any]:
    """The JSON Schema of a YAML file with exposures; what is not Tract's is left to dbt."""
    spec = Spec.model_json_schema()
    kinds = spec.pop("$defs")
    kinds["CandidateSpec"] = {"anyOf": [{"type": "string"}, kinds["CandidateSpec"]]}
    for model in (spec, *kinds.values()):
        for properties in (part.get("properties", {}) for part in model.get("anyOf", [model])):
            for name, field in properties.items():
                field.pop("title", None)
                if field.get("type") != "string" or "enum" in field:
                    properties[name] = {"description": field.pop("description", ""), "anyOf": [field, JINJA]}
    meta = {"type": "object", "properties": {"ml": spec}}
    exposure = {
        "type": "object",
        "properties": {
            "config": {"type": "object", "properties": {"meta": meta}},
            "meta": meta,
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Exposures of Tract",
        "type": "object",
        "properties": {"exposures": {"type": "array", "items": exposure}},
        "$defs": kinds,
    }


def page() -> str:
    """The page docs/exposures.md."""
    return PAGE.format(tables="\n".join(f"{title}\n\n{_table(model)}" for model, title in TABLES.items()))


def _table(model: type[BaseModel]) -> str:
    said = model.model_json_schema()["properties"]
    rows = [
        f"| `{name}` | {field.description} | {_allowed(said[name])} | {_default(field)} |"
        for name, field in model.model_fields.items()
    ]
    return "\n".join(["| setting | what | allowed | default |", "|---|---|---|---|", *rows, ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    empty = field.default in (None, "", {}, ()) or isinstance(field.default, BaseModel)
    return "" if empty else f"`{json.dumps(field.default).strip(chr(34))}`"


def _allowed(said: Mapping[str, Any]) -> str:
    """What a field takes, in words."""
    if ways := said.get("anyOf", said.get("oneOf")):
        return " or ".join(dict.fromkeys(_allowed(part) for part in ways if part.get("type") != "null"))
    if "$ref" in said:
        return "see below"
    if "const" in said:
        return f"`{said['const']}`"
    if "enum" in said:
        return " or ".join(f"`{value}`" for value in said["enum"])
    kind = {
        "array": "list",
        "boolean": "`true` or `false`",
        "integer": "whole number",
        "number": "number",
        "object": "mapping",
        "string": "text",
    }[said["type"]]
    return ", ".join([kind, *_bounds(said)])


def _bounds(said: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minItems": "at least {}",
        "minProperties": "at least {}",
        "pattern": "as `{}`",
    }
    for name, bound in words.items():
        if name in said and not (name == "minItems" and said.get("maxItems") == said[name]):
            yield bound.format(str(said[name]).replace("|", r"\|"))  # else it would end a table's cell
    if "maxItems" in said and said["maxItems"] == said.get("minItems"):
        yield f"of {said['maxItems']}"


def main() -> None:
    """Write both below docs/."""
    (DOCS / "exposures.schema.json").write_text(text(), encoding="utf-8")
    (DOCS / "exposures.md").write_text(page(), encoding="utf-8")


def text() -> str:
    """The JSON Schema as it is written and printed."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    main()
