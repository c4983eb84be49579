"""What of DuckDB's SQL is said in Spark's words, what is refused, and that the two engines differ there; no server."""

import duckdb
import pyarrow as pa
import pytest
import sqlglot

from ml.spark import dialect, rowwise, tasks
from ml.spark.dialect import DialectError

TABLE = ("s", "t")
TYPES = {TABLE: {"a": "DOUBLE", "i": "INTEGER", "d": "DECIMAL(10,2)", "v": "VARCHAR", "b": "BIGINT", "at": "TIMESTAMP"}}


def said(sql: str) -> str:
    return dialect.translated(sqlglot.parse_one(sql, dialect="duckdb"), {TABLE: "view"}, TYPES, "models/m.sql")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("select a ^ 2 as p from lake.s.t", "SELECT POWER(a, 2) AS p FROM view AS t"),  # ^ is xor in Spark
        ("select log10(a) as l from lake.s.t", "SELECT LOG(10, a) AS l FROM view AS t"),
        ("select concat(v, 'x') as c from lake.s.t", "SELECT CONCAT(COALESCE(v, ''), 'x') AS c FROM view AS t"),
        (
            "select rank() over (order by a) as r from lake.s.t",
            "SELECT RANK() OVER (ORDER BY a NULLS LAST) AS r FROM view AS t",
        ),
        ("select floor(a) as f from lake.s.t", "SELECT CAST(FLOOR(a) AS DOUBLE) AS f FROM view AS t"),
        ("select a / nullif(a, 0) as q from lake.s.t", "SELECT a / NULLIF(a, 0) AS q FROM view AS t"),
        ('select "a" as "one two" from lake.s.t', "SELECT `a` AS `one two` FROM view AS t"),
        ("select i::varchar as c from lake.s.t", "SELECT CAST(i AS STRING) AS c FROM view AS t"),
    ],
)
def test_what_is_translated(ours: str, theirs: str) -> None:
    assert said(ours) == theirs


@pytest.mark.parametrize(
    ("construct", "why"),
    [
        ("log(a)", "to the base 10 in DuckDB and to the base e"),
        ("hash(v)", "no other engine's"),
        ("regexp_replace(v, 'a', 'b')", "the first match and Spark all"),
        ("d / 3", "of decimals it is a double in DuckDB"),
        ("avg(d)", "of decimals it is a double in DuckDB"),
        ("a / b", "by zero"),
        ("b % i", "by zero"),
        ("i * i", "may overflow"),
        ("cast(a as varchar)", "double as text is written otherwise"),
        ("concat(v, a)", "texts of what is none"),
        ("v || a", "texts of what is none"),
        ("cast(a as integer)", "rounds and Spark cuts off"),
        ("cast(v as date)", "reads as a date"),
        ("cast(v as double)", "reads as a number"),
        ("round(a, 2)", "decimal text"),
        ("create_sort_key(a, 'ASC')", "Spark has none"),
        ("now()", "a clock of its own"),
        ("random()", "other rows at each try"),
        ("arg_max(a, i)", "not known to mean the same"),
        ("a // 2", "not known to mean the same"),
        ("strftime(at, '%Y')", "not known to mean the same"),
        ("v like 'a\\_'", "a backslash"),
    ],
)
def test_what_is_refused_names_model_line_and_construct(construct: str, why: str) -> None:
    with pytest.raises(DialectError) as refused:
        said(f"select\n    v,\n    {construct} as x\nfrom lake.s.t")
    sentence = str(refused.value)
    assert sentence.startswith("models/m.sql cannot be built on Spark, and nothing was run:")
    assert why in sentence
    assert "line 3: " in sentence or construct.endswith("()")


def test_a_limit_is_refused() -> None:
    with pytest.raises(DialectError, match="nobody's promise"):
        said("select a from lake.s.t order by a limit 3")


@pytest.mark.parametrize(
    ("sql", "by_row"),
    [
        (
            "with x as (select * from lake.s.t) select md5(create_sort_key(a, 'ASC')) as k, round(a, 2) as r from x",
            True,
        ),
        ("select a / nullif(i, 0) as q from lake.s.t where v in ('x', 'y')", True),
        ("select a from lake.s.t order by a", False),
        ("select sum(a) from lake.s.t", False),
        ("select fsum(a) from lake.s.t", False),
        ("select distinct a from lake.s.t", False),
        ("select row_number() over () from lake.s.t", False),
        ("select unnest([a, a]) from lake.s.t", False),
        ("select a, now() from lake.s.t", False),
        ("select a, current_timestamp from lake.s.t", False),
        ("select random() from lake.s.t", False),
        ("select a, (select max(a) from lake.s.t) from lake.s.t", False),
        ("select a from lake.s.t where i in (select i from lake.s.u)", False),
        ("select t.a from lake.s.t as t join lake.s.t as u on t.i = u.i", False),
        ("select a from lake.s.t union all select a from lake.s.t", False),
        ("select a from lake.s.t, range(3)", False),
    ],
)
def test_which_queries_make_a_row_of_a_row(sql: str, by_row: bool) -> None:
    with duckdb.connect() as con:
        assert rowwise.is_rowwise(rowwise.inlined(sql, lambda table: None), con) is by_row


def test_views_stand_for_their_queries() -> None:
    views = {("s", "v"): "select a + 1 as b from lake.s.t"}
    tree = rowwise.inlined("with x as (select * from lake.s.v) select b from x", views.get)
    assert rowwise.tables(tree) == [TABLE]
    with duckdb.connect() as con:
        con.execute("create table published as select 2.0::double as a")
        assert con.execute(rowwise.of_published(tree)).fetchall() == [(3.0,)]


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ('select count(*) from (select "A" from published as t where t.i > 3 and b) as x', {"a", "t", "i", "b"}),
        ("with x as (select * from published) select x.a from x where v = 'i'", {"x", "a", "v"}),
        ("select s.field from published", {"s", "field"}),
        ("select a from published where hash(published) > 3", None),  # a whole row
        ("select columns('a.*') from published", None),
        ("select * exclude (a) from published", None),
        ("select row(t.*) as r from published as t", None),
        ("select x from (select * from published) as t(x)", None),
        ("select #1 from published", None),
    ],
)
def test_which_columns_a_query_means(sql: str, named: set[str] | None) -> None:
    assert rowwise.columns(sqlglot.parse_one(sql, dialect="duckdb")) == named


def test_nan_is_the_greatest_in_a_task_as_in_the_lake() -> None:
    rows = pa.RecordBatch.from_pydict({"a": [1.0, float("nan"), 9.0, None]})
    with tasks.published([rows], {"a": "DOUBLE"}, tasks.packages()) as con:
        assert con.execute("select count(*) from published where a > 5").fetchall() == [(2,)]
