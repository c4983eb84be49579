"""A notice as an HTTP POST to a webhook."""

import http.client
import json
import os
import re
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ml.notifying import SENT, TIMEOUT_SECONDS, Answer, RecipientError, words
from ml.records.notices import Notice

# Refusals that may end by themselves, beside those of a server that is unwell (500 and above).
FOR_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
PRINTABLE = re.compile("[!-~]+")


def url(variable: str) -> str:
    """The webhook's URL, which an environment variable holds.

    Raises:
        RecipientError: It is not set, or holds no URL of HTTP.
    """
    said = os.environ.get(variable, "").strip()
    if not said:
        raise RecipientError(f"the environment variable {variable} is not set where notices are sent")
    try:
        parts = urlsplit(said)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and "@" not in parts.netloc
    except ValueError:  # its port is no number
        fits = False
    if not fits or not PRINTABLE.fullmatch(said):
        raise RecipientError(
            f"the environment variable {variable} holds no URL such as https://host/path, without user and password"
        )
    return said


def body(notice: Notice) -> dict[str, Any]:
    """What is sent: the text alone as Slack takes it, or all that is known."""
    if notice.template == "slack":
        escaped = notice.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return {"text": escaped}
    return {
        "id": notice.notice_id,
        "exposure": notice.exposure,
        "about": notice.about,
        "occasion": notice.occasion,
        "text": notice.text,
        "noticed_at": notice.noticed_at.isoformat(),
    }


class _NoRedirect(HTTPRedirectHandler):
    """A webhook that has moved is for a person to look at: what is sent goes where the variable says, or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


_OPENER = build_opener(_NoRedirect)


def send(to: str, notice: Notice) -> Answer:
    """Post a notice to a URL, once; proxies are those of the environment.

    What ended before the request was out, or was refused, may be tried again. Where the answer did not come, nobody
    knows whether the notice was taken.
    """
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Idempotency-Key": notice.notice_id,
        "User-Agent": "tract",
    }
    content = json.dumps(body(notice), ensure_ascii=False).encode()
    try:
        with _OPENER.open(Request(to, content, headers, method="POST"), timeout=TIMEOUT_SECONDS):
            return SENT
    except HTTPError as refused:
        refused.close()
        return _refused(refused.code)
    except URLError as failed:  # urllib's word for what ended before the request was out
        return Answer("postponed", words(failed.reason) if isinstance(failed.reason, Exception) else "it failed")
    except (OSError, http.client.HTTPException) as error:
        return Answer("unclear", f"the request was out, and its answer did not come: {words(error)}")
    except ValueError:
        return Answer("postponed", "the URL cannot be asked")


def _refused(code: int) -> Answer:
    name = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else ""
    answered = f"the webhook answered {code} {name}".rstrip()
    if code == HTTPStatus.GATEWAY_TIMEOUT:
        return Answer("unclear", f"{answered}: what stands behind it may have taken the notice")
    return Answer("postponed" if code >= 500 or code in FOR_NOW else "undeliverable", answered)
