"""A webhook is sent a notice once; which refusals may end, and that no word of ours holds its URL."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ml.notifying import SENT, Answer, RecipientError, webhook
from tests.ml import recipients
from tests.ml.notifying.notice import REFUSED
from tests.ml.recipients import DROP, HANG, SECRET, Webhook


@pytest.fixture
def ops() -> Iterator[Webhook]:
    with recipients.webhook() as there:
        yield there


def test_it_is_sent_all_that_is_known_under_the_notice_s_id(ops: Webhook) -> None:
    assert webhook.send(ops.url, REFUSED) == SENT
    (request,) = ops.requests
    assert request.path == f"/services/{SECRET}"
    assert request.headers["Idempotency-Key"] == REFUSED.notice_id
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request.body) == {
        "id": REFUSED.notice_id,
        "exposure": "points",
        "about": "features.points@7",
        "occasion": "refused",
        "text": REFUSED.text,
        "noticed_at": "2026-01-01T12:00:00+00:00",
    }


def test_slack_is_sent_a_text_in_which_nothing_is_markup(ops: Webhook) -> None:
    assert webhook.send(ops.url, replace(REFUSED, template="slack")) == SENT
    assert json.loads(ops.requests[0].body) == {
        "text": "points: version a&lt;b of features.points@7 was refused &amp; &lt;!channel&gt; is told: 1 ≠ 2."
    }


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        (200, "sent", None),
        (204, "sent", None),
        (302, "undeliverable", "the webhook answered 302 Found"),
        (400, "undeliverable", "the webhook answered 400 Bad Request"),
        (404, "undeliverable", "the webhook answered 404 Not Found"),
        (408, "postponed", "the webhook answered 408 Request Timeout"),
        (429, "postponed", "the webhook answered 429 Too Many Requests"),
        (500, "postponed", "the webhook answered 500 Internal Server Error"),
        (503, "postponed", "the webhook answered 503 Service Unavailable"),
        (504, "unclear", "the webhook answered 504 Gateway Timeout: what stands behind it may have taken the notice"),
        (599, "postponed", "the webhook answered 599"),
    ],
)
def test_what_an_answer_means_is_said_by_its_code_alone(ops: Webhook, code: int, state: str, reason: str) -> None:
    ops.answers = [code]
    assert webhook.send(ops.url, REFUSED) == Answer(state, reason)  # type: ignore[arg-type]
    assert len(ops.requests) == 1


def test_where_the_answer_does_not_come_nobody_knows(ops: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.3)
    ops.answers = [DROP, HANG]
    dropped, hung = (webhook.send(ops.url, REFUSED) for _ in range(2))
    assert dropped == Answer(
        "unclear", "the request was out, and its answer did not come: the connection failed (RemoteDisconnected)"
    )
    assert (hung.state, "no answer within" in (hung.reason or "")) == ("unclear", True)


def test_what_cannot_be_reached_was_told_nothing() -> None:
    with recipients.webhook() as gone:
        pass
    assert webhook.send(gone.url, REFUSED) == Answer("postponed", "connection refused")
    assert webhook.send(f"https{gone.url[4:]}", REFUSED) == Answer("postponed", "connection refused")
    assert webhook.send(f"http://nobody.invalid/{SECRET}", REFUSED) == Answer("postponed", "the host is not found")


def test_one_that_speaks_no_tls_is_said_so(ops: Webhook) -> None:
    told = webhook.send(f"https{ops.url[4:]}", REFUSED)
    assert (told.state, ops.requests) == ("postponed", [])
    assert told.reason == "no TLS could be agreed on, or the certificate is not one to be trusted"


@pytest.mark.parametrize(
    "value",
    [
        f"hooks.example.com/{SECRET}",
        f"file:///{SECRET}",
        f"https:///{SECRET}",
        f"https://ann:{SECRET}@hooks.example.com/",
        f"https://hooks.example.com:{SECRET}/",
        f"https://hooks.example.com/{SECRET}\r\nX-Other: 1",
        f"https://hooks.example.com/ {SECRET}",
    ],
)
def test_a_variable_that_holds_no_url_is_named_and_not_what_it_holds(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS", value)
    with pytest.raises(RecipientError) as error:
        webhook.url("OPS")
    assert str(error.value) == (
        "the environment variable OPS holds no URL such as https://host/path, without user and password"
    )
    assert error.value.__cause__ is None


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", " "):
        if value is not None:
            monkeypatch.setenv("OPS", value)
        with pytest.raises(RecipientError, match=r"^the environment variable OPS is not set where notices are sent$"):
            webhook.url("OPS")
    monkeypatch.setenv("OPS", " https://hooks.example.com/x\n")
    assert webhook.url("OPS") == "https://hooks.example.com/x"
