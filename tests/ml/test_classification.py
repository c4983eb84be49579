"""From publications of classes to what is served: learned, judged, promoted, predicted, judged live, repeated."""

import duckdb
import numpy as np
import pytest

from ml import consumption, serving
from ml.classes import text_of
from ml.learning import measures
from ml.records import champions, versions
from ml.replay import replay
from tests.ml import classified
from tests.ml.classified import KEY, KINDS, SIZE, WHERE
from tests.ml.rows import silent


@pytest.mark.parametrize(
    ("target", "name"), [*((target, "logistic") for target in KINDS), ("order", "gradient_boosting")]
)
def test_classes_of_every_type_go_from_a_publication_to_predictions_and_back(
    con: duckdb.DuckDBPyConnection, target: str, name: str
) -> None:
    asked, rows = classified.exposure(target, candidates=(name,)), classified.frame()
    publication = classified.publish(con, rows, asked)
    done = consumption.consume(asked, say=silent)
    assert done is not None
    assert (done.outcome, done.predicted_rows) == ("trained", len(rows))
    assert done.champion_id == done.version_id
    assert done.metrics["log_loss"] < done.baseline["log_loss"]
    assert done.metrics["rows"] == rows[target].notna().sum()

    classes = sorted(KINDS[target][1])
    texts = [text_of(one) for one in classes]
    predicted = con.execute(f'from lake.ml.{asked.spec.predictions} order by "row no"').df()
    assert predicted[KEY].tolist() == rows[KEY].tolist()
    served = np.array([[p[text] for text in texts] for p in predicted["probabilities"]])
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-12)
    assert predicted["prediction"].tolist() == [classes[i] for i in served.argmax(axis=1)]
    probability = served[:, 1] if len(classes) == 2 else served.max(axis=1)
    assert predicted["probability"].tolist() == probability.tolist()
    for one, its, likely in zip(predicted["prediction"], predicted["prediction_set"], served, strict=True):
        assert text_of(one) in its
        assert [text for text in texts if text in its] == list(its)
        assert min(likely[texts.index(text)] for text in its) >= max(
            [likely[i] for i, text in enumerate(texts) if text not in its], default=0
        )

    # the file gives classes, and what is served, without more
    champion = champions.champion(con, asked.name)
    assert champion is not None
    estimator = versions.load(con, asked.name, champion)
    assert estimator.classes_.tolist() == classes
    np.testing.assert_allclose(estimator.predict_proba(rows[[SIZE, WHERE]]), served, rtol=1e-9, atol=1e-12)
    assert np.mean(estimator.predict(rows[[SIZE, WHERE]]) == predicted["prediction"]) > 0.99

    held = con.execute(f"from lake.ml.{asked.heldout} where split = 'random' order by \"row no\"").df()
    known = rows[rows[target].notna()]
    assert held["actual"].tolist() == [text_of(one) for one in known[target]]
    p = np.array([[p[text] for text in texts] for p in held["probabilities"]])
    codes = np.array([texts.index(one) for one in held["actual"]])
    assert measures.of_rows("log_loss", codes, p).mean() == pytest.approx(done.metrics["log_loss"])

    found = serving.predict(con, asked.name, rows)
    np.testing.assert_allclose(found["probability"], predicted["probability"], rtol=1e-9)
    assert found["prediction_set"].tolist() == [list(its) for its in predicted["prediction_set"]]
    assert [list(one) for one in found["probabilities"]] == [texts] * len(rows)
    assert list(serving.predict(con, asked.name, rows[:0]).columns) == list(found.columns)

    again = replay(asked, publication, say=silent)
    assert again.largest_difference == 0
