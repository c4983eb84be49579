"""The card says what the lake holds, once per change, and nothing that a name smuggles in is run by a browser."""

import hashlib
import json
import re
from dataclasses import replace
from html import unescape
from typing import Any

import duckdb
import pytest

from ml import promotion
from ml.exposures import Exposure
from ml.lake.artifacts import ArtifactError
from ml.records import versions
from ml.reports import card
from ml.reports import facts as version_facts
from ml.reports.card import CardError
from ml.spec import CandidateSpec, FeaturesSpec
from tests.ml import mixed
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def consume(exposure: Exposure) -> str:
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    assert made.version_id is not None
    return made.version_id


def html(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> str:
    """The champion's card as it stands."""
    return card.saved(con, exposure.name).decode()


def text(page: str) -> str:
    """What a person reads of it."""
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))


def counts(con: duckdb.DuckDBPyConnection) -> list[int]:
    tables = ("feature_importance", "partial_dependence", "model_cards")
    return [con.sql(f"from lake.ml.{table}").shape[0] for table in tables]


def snapshots(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [row[0] for row in con.execute("select commit_message from lake.snapshots() order by 1").fetchall()]


def test_a_version_is_explained_once_and_a_second_call_adds_nothing(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    assert card.explain(exposure, say=silent) == ()
    publish(0.1)
    version = consume(exposure)
    (made,) = card.explain(exposure, say=silent)
    assert made.written
    assert made.uri.endswith(f"/cards/points/{version}.html")
    assert counts(con) == [2, 40, 1]
    before = snapshots(con)
    assert {f"points explain {version}", f"points card {version}"}.issubset(before)
    (again,) = card.explain(exposure, say=silent)
    assert again == replace(made, pictures=())
    assert not again.written
    assert counts(con) == [2, 40, 1]
    assert snapshots(con) == before


def test_what_decides_more_is_more_important_and_dependence_is_the_models_line(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    version = consume(exposure)
    card.explain(exposure, say=silent)
    found = con.sql("from lake.ml.feature_importance").df().set_index("feature")
    # y = 3 a - 2 b, a uniform to 10 and b to 5: the slope times the deviation, times the root of 2
    assert found["importance_mean"]["a"] == pytest.approx(3 * 10 / 12**0.5 * 2**0.5, rel=0.15)
    assert found["importance_mean"]["b"] == pytest.approx(2 * 5 / 12**0.5 * 2**0.5, rel=0.15)
    assert set(found["split"]) == {"group"}
    held = con.execute("select count(*) from lake.ml.heldout_predictions where split = 'group' and fold = 0").fetchone()
    assert held is not None
    assert set(found["heldout_rows"]) == {held[0]}
    curve = con.sql("from lake.ml.partial_dependence where feature = 'a' order by grid_point").df()
    registered = versions.version(con, "points", version)
    assert registered is not None
    pipeline = versions.load(con, "points", registered)
    slope = pipeline[-1].coef_[0] / pipeline[0].scale_[0]
    steps = curve["mean_prediction"].diff()[1:] / curve["feature_value"].diff()[1:]
    assert steps.to_numpy() == pytest.approx(slope, rel=1e-9)


def test_the_card_holds_the_figures_of_the_lake(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish(0.1)
    version = consume(exposure)
    card.explain(exposure, say=silent)
    page = html(con, exposure)
    said = text(page)
    row = con.sql("from lake.ml.model_versions").df().iloc[0]
    for name in ("version_id", "fingerprint", "code", "invocation_id", "artifact_uri", "scaler_uri"):
        assert row[name] in said
    assert publication in said
    reason = con.execute("select reason from lake.ops.consumptions").fetchone()
    assert reason is not None
    assert f"The gate let it through : {reason[0]}." in said.replace("&#39;", "'")
    ours = con.sql("from lake.ml.model_metrics where candidate = 'ridge' and slice = 'all'").df()
    for split in ("random", "group"):
        of_split = ours[ours["split"] == split].set_index("metric")["value"]
        told = f"ridge 400 {of_split['rmse']:.2f} {of_split['mae']:.2f}"
        assert told in said
        assert f"{of_split['r2']:.3f} {of_split['coverage']:.1%}" in said
    assert "mean 400" in said
    assert "Not measured yet" in said
    assert f"alpha = {json.loads(row['parameters'])['alpha']}" in said
    facts = version_facts.read(con, exposure, version)
    drawn = card.draw(facts, version_facts.heldout(con, facts))
    names = ["predicted_against_actual", "error_by_slice", "coverage", "importance", "partial_dependence"]
    assert [picture.name for picture in drawn] == names
    assert page.count("data:image/svg+xml;base64,") == len(names)
    assert all(b"<svg " in picture.svg for picture in drawn)
    assert "http" not in page  # nothing is fetched from elsewhere
    contents = re.findall('<li><a href="#(.*?)">(.*?)</a>', page)
    assert contents == re.findall('<h2 id="(.*?)">(.*?)</h2>', page)
    assert [name for name, _ in contents][:2] == ["what", "data"]
    assert "left of zero" not in page
    facts.importance.loc[facts.importance.index[-1], "importance_mean"] = -0.1
    assert "A bar to the left of zero: " in card.to_html(facts, drawn)
    *_, code = re.findall("<pre>(.*?)</pre>", page, re.DOTALL)
    ran: dict[str, Any] = {}
    exec(unescape(code), ran)  # as a reader copies it
    assert len(ran["rows"]) == 400


def test_the_card_says_of_how_many_rows_those_judged_are_a_sample(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1, rows=3_000)
    sampled = replace(exposure, spec=exposure.spec.model_copy(update={"max_rows": 1_000}))
    consume(sampled)
    card.explain(sampled, say=silent)
    ((judged,),) = con.execute(
        "select value from lake.ml.model_metrics where candidate = 'ridge' and split = 'random' and slice = 'all' "
        "and metric = 'rows'"
    ).fetchall()
    assert judged < 1_500
    assert f"On {judged:,.0f} rows, a sample of 3,000, each predicted by a fit" in text(html(con, sampled))


def test_a_map_is_drawn_only_where_the_exposure_names_its_columns(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    version = consume(exposure)
    mapped = replace(exposure, spec=exposure.spec.model_copy(update={"map_columns": ("a", "b")}))
    facts = version_facts.read(con, mapped, version)
    rows = version_facts.heldout(con, facts)
    assert list(rows.columns) == ["actual", "predicted", "lower", "upper", "a", "b"]
    assert len(rows) == 400  # the split that the gate judges by, not both
    assert "residual_map" in [picture.name for picture in card.draw(facts, rows)]
    gone = replace(exposure, spec=exposure.spec.model_copy(update={"map_columns": ("a", "gone")}))
    facts = version_facts.read(con, gone, version)
    rows = version_facts.heldout(con, facts)
    assert list(rows.columns) == ["actual", "predicted", "lower", "upper"]
    assert "residual_map" not in [picture.name for picture in card.draw(facts, rows)]


def test_an_address_is_broken_at_its_sign_alone_and_what_is_not_known_has_no_section(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    owned = replace(exposure, owner="Consumers", owner_email="the.consumers@example.com")
    publish(0.1)
    facts = version_facts.read(con, owned, consume(owned))  # it is not explained yet
    page = card.to_html(facts, [])
    assert "Consumers, the.consumers<wbr>@example.com</dd>" in page
    assert "importance" not in re.findall('href="#(.*?)"', page)
    assert "importance" not in re.findall('<h2 id="(.*?)"', page)


def test_what_others_wrote_is_text_and_never_markup(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    evil = "<script>alert('x')</script>"
    said = replace(
        exposure,
        description=evil,
        owner=f"{evil} & Sons",
        relation_description=evil,
        column_descriptions={"a": evil},
        spec=exposure.spec.model_copy(update={"limitations": evil, "unit": evil, "slices": {"b": f"'{evil[:8]}'"}}),
    )
    publish(0.1)
    consume(said)
    card.explain(said, say=silent)
    page = html(con, said)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(") >= 5
    assert "&amp; Sons" in page


def test_a_card_follows_the_promotions_and_a_refused_version_has_one_too(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    card.explain(exposure, say=silent)
    strict = replace(exposure, spec=exposure.spec.model_copy(update={"refresh_margin": 0.0}))
    publish(0.2, noise=9.0)
    second = consume(strict)
    made = card.explain(strict, say=silent)
    # of the champion, the drift that the second publication brought is told
    assert [(one.version_id, one.written) for one in made] == [(second, True), (first, True)]
    refused = con.execute(f"select content from read_text('{made[0].uri}')").fetchone()
    assert refused is not None
    assert "The gate did not let it through : not promoted, refresh:" in text(refused[0])
    assert "It has never served." in refused[0]
    champion = html(con, exposure)
    assert "it was still the champion when this card was written" in champion
    assert "against those of <code>features.points@" in champion
    promotion.promote(strict, second, by="Ann", reason="it is <better>", say=silent)
    made = card.explain(strict, say=silent)
    assert [(one.version_id, one.written) for one in made] == [(second, True), (first, True)]
    assert "by Ann: it is &lt;better&gt;." in html(con, exposure)
    replaced = con.execute(f"select content from read_text('{made[1].uri}')").fetchone()
    assert replaced is not None
    assert re.search(r"Champion from \S+ \S+ UTC until \S+ \S+ UTC", replaced[0])
    assert not any(one.written for one in card.explain(strict, say=silent))


def test_an_estimator_of_rows_is_explained_with_the_settings_that_it_was_trained_with(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    forest = CandidateSpec(
        name="forest", estimator="sklearn.ensemble.RandomForestRegressor", parameters={"n_estimators": 5}
    )
    asked = replace(exposure, spec=exposure.spec.model_copy(update={"candidates": (forest,)}))
    publish(0.1)
    consume(asked)
    later = replace(asked, spec=asked.spec.model_copy(update={"folds": 2, "group": None}))
    card.explain(later, say=silent)
    found = con.sql("from lake.ml.feature_importance").df().set_index("feature")
    assert set(found["split"]) == {"group"}
    assert found["heldout_rows"].max() < 150  # one of five folds, not of two
    assert found["importance_mean"]["a"] > 2 * found["importance_mean"]["b"] > 0
    assert "sklearn.ensemble.RandomForestRegressor" in html(con, exposure)


def test_a_card_that_is_not_there_says_why(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    with pytest.raises(CardError, match="points has no champion"):
        card.saved(con, "points")
    publish(0.1)
    version = consume(exposure)
    with pytest.raises(CardError, match=rf"The champion of points, {version}, has no card yet"):
        card.saved(con, "points")
    (made,) = card.explain(exposure, say=silent)
    assert hashlib.sha256(card.saved(con, "points")).hexdigest() == made.sha256
    con.execute(f"copy (select 'other'::blob) to '{made.uri}' (format blob)")
    with pytest.raises(ArtifactError, match="it was changed after"):
        card.saved(con, "points")


@pytest.mark.parametrize("candidate", ["ridge", "gradient_boosting"])
def test_columns_of_all_kinds_are_explained(candidate: str, con: duckdb.DuckDBPyConnection) -> None:
    asked = mixed.exposure(candidate)
    mixed.publish(con, mixed.frame())
    consume(asked)
    (made,) = card.explain(asked, say=silent)
    found = dict(con.execute("select feature, importance_mean from lake.ml.feature_importance").fetchall())
    assert set(found) == set(mixed.FEATURES)
    assert min(found[name] for name in (mixed.SIZE, mixed.WHERE, mixed.CODE, mixed.SINCE)) > 1
    curves = con.execute("select feature, count(*) from lake.ml.partial_dependence group by all").fetchall()
    assert set(dict(curves)) == {mixed.SIZE, mixed.OPEN, mixed.AREA}  # of levels and dates there is no curve
    assert [picture.name for picture in made.pictures] == [
        "predicted_against_actual",
        "error_by_slice",
        "coverage",
        "importance",
        "partial_dependence",
    ]
    shown = unescape(text(html(con, asked)))
    assert all(name in shown for name in mixed.FEATURES)


def test_a_model_of_levels_alone_has_no_curves(con: duckdb.DuckDBPyConnection) -> None:
    asked = mixed.exposure()
    levels = asked.spec.model_copy(update={"features": FeaturesSpec(include=(mixed.WHERE,))})
    asked = replace(asked, spec=levels)
    mixed.publish(con, mixed.frame())
    consume(asked)
    (made,) = card.explain(asked, say=silent)
    assert counts(con) == [1, 0, 1]
    assert "partial_dependence" not in [picture.name for picture in made.pictures]
