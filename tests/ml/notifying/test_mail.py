"""A mail is handed over once; which refusals may end, and that no word of ours holds the password."""

import email
import email.policy
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ml.notifying import SENT, Answer, RecipientError, mail
from ml.notifying.mail import Server
from tests.ml import recipients
from tests.ml.notifying.notice import REFUSED
from tests.ml.recipients import SECRET, MailServer

NOTICE = replace(REFUSED, recipient="ann@example.com")
USER = "tract@example.com"


@pytest.fixture
def post() -> Iterator[MailServer]:
    with recipients.mail_server(USER, SECRET) as there:
        yield there


def by(there: MailServer, host: str = "127.0.0.1", user: str = "", password: str = "", tls: bool = False) -> Server:
    return Server(host, there.port, tls, USER, user, password)


def test_it_has_the_notice_s_id_and_text_and_comes_from_the_sender(post: MailServer) -> None:
    assert mail.send(by(post, user=USER, password=SECRET), NOTICE) == SENT
    (found,) = post.mails
    assert (found.sender, found.recipient, post.logins) == (USER, "ann@example.com", [f"\0{USER}\0{SECRET}"])
    read = email.message_from_string(found.content, policy=email.policy.default)
    assert {name: read[name] for name in ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted")} == {
        "From": USER,
        "To": "ann@example.com",
        "Subject": "Tract: points refused",
        "Date": "Thu, 01 Jan 2026 12:00:00 +0000",
        "Message-ID": f"<{NOTICE.notice_id}@example.com>",
        "Auto-Submitted": "auto-generated",
    }
    assert read.get_content().strip() == NOTICE.text


@pytest.mark.parametrize(
    ("verb", "answer", "state", "reason"),
    [
        ("MAIL", "451 later", "postponed", "the mail server refuses the sender (451)"),
        ("RCPT", "550 who is that", "undeliverable", "the mail server refuses the recipient (550)"),
        ("RCPT", "450 busy", "postponed", "the mail server refuses the recipient (450)"),
        ("DATA", "554 no", "undeliverable", "the mail server refuses the mail (554)"),
        (".", "552 too large", "undeliverable", "the mail server refuses the mail (552)"),
        (".", "452 no room", "postponed", "the mail server refuses the mail (452)"),
        ("RCPT", "", "postponed", "the connection failed (SMTPServerDisconnected)"),
        (
            ".",
            "",
            "unclear",
            "the mail was out, and the answer to it did not come: the connection failed (SMTPServerDisconnected)",
        ),
        ("QUIT", "", "sent", None),
        ("QUIT", "500 what", "sent", None),
    ],
)
def test_what_an_answer_means_is_said_by_its_code_alone(
    post: MailServer, verb: str, answer: str, state: str, reason: str | None
) -> None:
    post.answers = {verb: answer}
    assert mail.send(by(post), NOTICE) == Answer(state, reason)  # type: ignore[arg-type]


def test_a_wrong_password_may_be_mended_and_is_not_repeated(post: MailServer) -> None:
    told = mail.send(by(post, user=USER, password=f"{SECRET}x"), NOTICE)
    assert told == Answer("postponed", "the mail server refuses user and password of TRACT_SMTP_URL (535)")
    assert (post.logins, post.mails) == ([f"\0{USER}\0{SECRET}x"], [])


def test_a_password_goes_to_loopback_or_by_tls_and_never_in_the_clear(post: MailServer) -> None:
    elsewhere = "127.0.0.2"  # of this machine, and none of loopback's names
    with recipients.mail_server(USER, SECRET, elsewhere) as there:
        told = mail.send(by(there, elsewhere, USER, SECRET), NOTICE)
        clear = "the mail server offers no STARTTLS, and a password is not sent in the clear"
        assert told == Answer("postponed", clear)
        assert (there.logins, there.mails) == ([], [])
        assert mail.send(by(there, elsewhere), NOTICE) == SENT  # of a relay that asks for none
        there.answers = {"EHLO": "250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS", "STARTTLS": "220 begin"}
        told = mail.send(by(there, elsewhere, USER, SECRET), NOTICE)
        assert told == Answer("postponed", "no TLS could be agreed on, or the certificate is not one to be trusted")
        assert (there.logins, len(there.mails)) == ([], 1)
    told = mail.send(by(post, tls=True), NOTICE)
    assert told == Answer("postponed", "no TLS could be agreed on, or the certificate is not one to be trusted")


def test_a_server_that_is_not_there_was_handed_nothing() -> None:
    with recipients.mail_server() as gone:
        pass
    assert mail.send(by(gone), NOTICE) == Answer("postponed", "connection refused")
    assert mail.send(Server("nobody.invalid", 25, False, USER), NOTICE) == Answer("postponed", "the host is not found")


@pytest.mark.parametrize(
    ("url", "sender", "expected"),
    [
        ("smtp://127.0.0.1:25", USER, Server("127.0.0.1", 25, False, USER)),
        ("smtps://mail.example.com/", USER, Server("mail.example.com", 465, True, USER)),
        (
            "smtp://tract%40example.com:s3%2Fcret@mail.example.com",
            "",
            Server("mail.example.com", 587, False, USER, USER, "s3/cret"),
        ),
    ],
)
def test_the_server_is_that_of_a_url(url: str, sender: str, expected: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACT_SMTP_URL", url)
    monkeypatch.setenv("TRACT_SMTP_FROM", sender)
    found = mail.server()
    assert found == expected
    assert "cret" not in repr(found) and "user=" not in repr(found)


@pytest.mark.parametrize(
    ("url", "sender", "expected"),
    [
        ("", USER, "TRACT_SMTP_URL is not set where notices are sent"),
        (f"https://ann:{SECRET}@mail.example.com", USER, "TRACT_SMTP_URL holds no URL such as smtp://user:password@"),
        (f"smtp://ann:{SECRET}@mail.example.com", USER, "TRACT_SMTP_URL holds no URL such as smtp://user:password@"),
        ("smtp://ann:p@mail.example.com:s3cret", USER, "TRACT_SMTP_URL holds no URL such as smtp://user:password@"),
        ("smtp://mail.example.com", "", "TRACT_SMTP_FROM must say from whom mails are, as tract@example.com"),
    ],
)
def test_what_is_not_set_or_no_url_is_named_and_not_what_it_is(
    url: str, sender: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACT_SMTP_URL", url)
    monkeypatch.setenv("TRACT_SMTP_FROM", sender)
    with pytest.raises(RecipientError) as error:
        mail.server()
    assert str(error.value).startswith(f"the environment variable {expected}")
    assert "s3cret" not in str(error.value) and error.value.__cause__ is None


def test_a_sender_that_is_no_address_is_said(post: MailServer) -> None:
    told = mail.send(Server("127.0.0.1", post.port, False, "a\r\nBcc: all@example.com"), NOTICE)
    assert told == Answer("postponed", "TRACT_SMTP_FROM is no address that a mail can be from")
    assert post.mails == []
