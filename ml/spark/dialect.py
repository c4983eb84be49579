"""DuckDB's SQL as Spark's by sqlglot, and a refusal of what would mean something else there, before anything runs.

What is not known to mean the same is refused: constructs, functions and casts stand in lists here. The types of columns
decide some of it, as the division of decimals; where a type is not known, it counts as the worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from ml.spark.rowwise import Table
from ml.spark.session import RefusedError

_STRUCTURE = (
    *(exp.Select, exp.From, exp.Where, exp.Group, exp.Having, exp.Join, exp.With, exp.CTE, exp.Subquery, exp.Table),
    *(exp.TableAlias, exp.Column, exp.Identifier, exp.Star, exp.Alias, exp.Literal, exp.Null, exp.Boolean, exp.Paren),
    *(exp.Union, exp.Distinct, exp.Order, exp.Ordered, exp.Limit, exp.Window, exp.WindowSpec, exp.Filter, exp.Tuple),
    *(exp.DataType, exp.DataTypeParam, exp.Var, exp.ColumnDef),
)
_OPERATORS = (
    *(exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between),
    *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Case, exp.If),
    *(exp.Like, exp.Cast, exp.DPipe),
)
_FUNCTIONS = (
    *(exp.Abs, exp.Ceil, exp.Floor, exp.Round, exp.Sqrt, exp.Pow, exp.Ln, exp.Exp, exp.Log, exp.Lower, exp.Upper),
    *(exp.Length, exp.Concat, exp.MD5, exp.Greatest, exp.Least, exp.Coalesce, exp.Nullif),
    *(exp.Sum, exp.Avg, exp.Count, exp.Min, exp.Max, exp.StddevPop, exp.StddevSamp, exp.VariancePop, exp.Variance),
    *(exp.CovarPop, exp.RowNumber, exp.Rank, exp.DenseRank),
)
_KNOWN = (*_STRUCTURE, *_OPERATORS, *_FUNCTIONS)
_WHOLE = {"TINYINT", "SMALLINT", "INT", "BIGINT"}
_TEXT = {"VARCHAR", "TEXT", "CHAR"}
# What they mean is said beside the refusal.
_INSTEAD = {
    "hash": "DuckDB's hash() is no other engine's; md5() is",
    "regexp_replace": "DuckDB replaces the first match and Spark all, by another syntax of expressions",
    "create_sort_key": "Spark has none: make the key in a model that reads one table row by row, which tasks run "
    "by DuckDB",
    "now": "each engine has a clock of its own: give the time as a variable of dbt",
    "rand": "it gives other rows at each try: use a hash of the key, md5()",
}


class DialectError(RefusedError):
    """A model's SQL would, or might, mean something else on the engine; nothing was run."""


def translated(tree: exp.Expr, named: Mapping[Table, str], types: Mapping[Table, Mapping[str, str]], where: str) -> str:
    """A query over tables of the lake as Spark's SQL over its views.

    Args:
        tree: The query, views inlined.
        named: The engine's view of each table.
        types: The columns of each table, with DuckDB's types.
        where: The model, as a refusal names it.

    Raises:
        DialectError: It would mean something else there.
    """
    found = list(refusals(tree, types))
    if found:
        listed = "\n".join(f"  {sentence}" for sentence in dict.fromkeys(found))
        raise DialectError(
            f"{where} cannot be built on Spark, and nothing was run:\n{listed}\nSay it otherwise, or build the model "
            "by DuckDB (`meta: {engine: duckdb}`)."
        )
    return worded(tree, named)


def worded(tree: exp.Expr, named: Mapping[Table, str]) -> str:
    """As `translated`, of a query that has no `refusals`."""
    made = tree.copy()
    for table in list(made.find_all(exp.Table)):
        if table.db:
            alias = table.alias or table.name
            table.replace(exp.alias_(exp.to_table(named[(table.db, table.name)]), alias, table=True))
    for rounded in list(made.find_all(exp.Floor, exp.Ceil)):  # a double in DuckDB, an integer in Spark
        rounded.replace(exp.cast(rounded.copy(), "double"))
    return made.sql(dialect="spark")


def refusals(tree: exp.Expr, types: Mapping[Table, Mapping[str, str]]) -> Iterator[str]:
    """A sentence for each construct that would mean something else on Spark, with its line in the compiled SQL."""
    schema: dict[str, Any] = {}
    for (place, name), columns in types.items():
        schema.setdefault("lake", {}).setdefault(place, {})[name] = dict(columns)
    try:
        typed = qualify(
            tree.copy(), schema=schema, dialect="duckdb", validate_qualify_columns=False, quote_identifiers=False
        )
        typed = annotate_types(typed, schema=schema, dialect="duckdb")
    except SqlglotError as error:
        yield f"it cannot be read: {str(error).splitlines()[0]}"
        return
    for node in typed.walk():
        if why := _wrong(node):
            line = _line(node)
            at = f"line {line}: " if line else ""
            yield f"{at}{_short(node)}: {why}"


def _wrong(node: exp.Expr) -> str:
    """Why a node means something else on Spark, or might; empty where it does not."""
    if not isinstance(node, _KNOWN):
        name = node.name.lower() if isinstance(node, exp.Anonymous) else node.key
        return _INSTEAD.get(
            name,
            _INSTEAD.get(
                node.key.replace("regexpreplace", "regexp_replace"), "it is not known to mean the same on Spark"
            ),
        )
    rule = _RULES.get(type(node))
    return rule(node) if rule else ""


def _log(node: exp.Expr) -> str:
    if node.args.get("expression") is None:
        return "log(x) is to the base 10 in DuckDB and to the base e in Spark: write log10(x) or ln(x)"
    return ""


def _division(node: exp.Expr) -> str:
    divisor = node.expression.unnest()
    is_number = isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.this) != 0
    if not (is_number or isinstance(divisor, exp.Nullif)):
        return "by zero it is infinite, NULL or an error, as the engine has it: divide by nullif(…, 0)"
    if _may_be(node.this, "DECIMAL") or _may_be(node.expression, "DECIMAL", literals=False):
        return "of decimals it is a double in DuckDB and a decimal in Spark: cast both to double"
    return ""


def _average(node: exp.Expr) -> str:
    if _may_be(node.this, "DECIMAL"):
        return "of decimals it is a double in DuckDB and a decimal in Spark: cast to double"
    return ""


def _arithmetic(node: exp.Expr) -> str:
    if _kind(node.this) in _WHOLE and _kind(node.expression) in _WHOLE:
        return (
            "of integers it may overflow, which is an error in DuckDB and need not be one elsewhere: cast one to double"
        )
    return ""


def _cast(node: exp.Expr) -> str:
    to, value = _kind(node), node.this.unnest()
    while isinstance(value, exp.Neg):
        value = value.this.unnest()
    if to in _TEXT and _kind(value) not in (_TEXT | _WHOLE | {"BOOLEAN", "DATE"}):
        return f"{_kind(value).lower()} as text is written otherwise by each engine: cast to a whole number first"
    if (
        to in _WHOLE
        and not isinstance(value, exp.Floor | exp.Ceil | exp.Round)
        and _kind(value) not in (_WHOLE | {"BOOLEAN"})
    ):
        return "to a whole number DuckDB rounds and Spark cuts off: say floor(), ceil() or round() inside"
    if to in ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME") and _kind(value) not in (
        "DATE",
        "TIMESTAMP",
        "TIMESTAMPTZ",
        to,
    ):
        return "what reads as a date differs by engine: read it where the data are landed"
    if to in ("DOUBLE", "FLOAT") and _kind(value) not in (_WHOLE | {"DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN"}):
        return "what reads as a number differs by engine: read it where the data are landed"
    return ""


def _texts(node: exp.Expr) -> str:
    parts = node.expressions or [node.this, node.expression]
    if any(_kind(part) not in (_TEXT | _WHOLE) for part in parts):
        return "it makes texts of what is none, which each engine writes otherwise: cast to varchar what can be"
    return ""


def _rounded(node: exp.Expr) -> str:
    digits = node.args.get("decimals")
    if digits is not None and digits.name != "0":
        return "to digits behind the point DuckDB rounds the double and Spark its decimal text: leave it unrounded"
    return ""


def _pattern(node: exp.Expr) -> str:
    if not node.expression.is_string or "\\" in node.expression.name:
        return "a backslash is an escape in one engine and a letter in the other: use a literal pattern without any"
    return ""


def _limited(node: exp.Expr) -> str:
    return "which rows come first is nobody's promise: leave the limit out"


_RULES = {
    exp.Log: _log,
    exp.Div: _division,
    exp.Mod: _division,
    exp.Avg: _average,
    exp.Add: _arithmetic,
    exp.Sub: _arithmetic,
    exp.Mul: _arithmetic,
    exp.Cast: _cast,
    exp.Concat: _texts,
    exp.DPipe: _texts,
    exp.Round: _rounded,
    exp.Like: _pattern,
    exp.Limit: _limited,
}


def _kind(node: exp.Expr) -> str:
    """The type, as sqlglot names it; UNKNOWN where it cannot tell."""
    return node.type.this.value.upper() if node.type is not None else "UNKNOWN"


def _may_be(node: exp.Expr, kind: str, literals: bool = True) -> bool:
    if not literals and isinstance(node.unnest(), exp.Literal):
        return False
    return _kind(node) in (kind, "UNKNOWN", "NULL")


def _line(node: exp.Expr) -> int | None:
    return next((inner.meta["line"] for inner in node.walk() if inner.meta.get("line")), None)


def _short(node: exp.Expr) -> str:
    sql = node.sql(dialect="duckdb")
    return sql if len(sql) <= 60 else f"{sql[:57]}…"
