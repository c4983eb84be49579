"""A notice as a mail, by the SMTP server that the environment names."""

import os
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from ml.lake.environment import LOOPBACK
from ml.notifying import SENT, TIMEOUT_SECONDS, Answer, RecipientError, words
from ml.records.notices import Notice

SERVER, SENDER = "TRACT_SMTP_URL", "TRACT_SMTP_FROM"
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class Server:
    """Where mails are handed over, and from whom they are.

    Attributes:
        tls: From the first byte on; otherwise it is begun by STARTTLS, but on loopback.
    """

    host: str
    port: int
    tls: bool
    sender: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def server() -> Server:
    """The server that `TRACT_SMTP_URL` names, as smtp://user:password@host:587 or smtps://….

    Raises:
        RecipientError: It is not set, or is no such URL, or nobody is said to be the sender.
    """
    said = os.environ.get(SERVER, "").strip()
    if not said:
        raise RecipientError(f"the environment variable {SERVER} is not set where notices are sent")
    try:
        parts = urlsplit(said)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or not port or parts.path not in ("", "/"):
        raise RecipientError(
            f"the environment variable {SERVER} holds no URL such as smtp://user:password@host:587 or smtps://host, "
            "with what is special in it as %40"
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    sender = os.environ.get(SENDER, "").strip() or (user if "@" in user else "")
    if not sender:
        raise RecipientError(f"the environment variable {SENDER} must say from whom mails are, as tract@example.com")
    return Server(parts.hostname, port, parts.scheme == "smtps", sender, user, password)


def message(notice: Notice, sender: str) -> EmailMessage:
    """The mail; its Message-ID is the notice's, by which one that comes twice is known."""
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = notice.recipient
    made["Subject"] = f"Tract: {' '.join(notice.exposure.split())} {notice.occasion}"
    made["Date"] = format_datetime(notice.noticed_at)
    made["Message-ID"] = f"<{notice.notice_id}@{sender.rpartition('@')[2].strip('> ') or 'localhost'}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(notice.text + "\n")
    return made


def send(by: Server, notice: Notice) -> Answer:
    """Hand a notice over, once.

    What ended before the mail was out, or was refused, may be tried again. Where the answer to the mail did not come,
    nobody knows whether it was taken.
    """
    try:
        content = message(notice, by.sender).as_bytes()
    except ValueError:
        return Answer("postponed", f"{SENDER} is no address that a mail can be from")
    try:
        smtp = _connected(by)
    except (OSError, ValueError) as error:  # smtplib's errors are OSErrors
        return Answer("postponed", _not_entered(error))
    try:
        return _enter(smtp, by) or _hand_over(smtp, by.sender, notice.recipient, content)
    finally:
        with suppress(OSError):  # the server may have hung up: what it said of the mail holds
            smtp.quit()
        smtp.close()


def _connected(by: Server) -> smtplib.SMTP:
    if by.tls:
        return smtplib.SMTP_SSL(by.host, by.port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(by.host, by.port, timeout=TIMEOUT_SECONDS)


def _enter(smtp: smtplib.SMTP, by: Server) -> Answer | None:
    """Begin TLS and log in; None where that is done."""
    try:
        smtp.ehlo_or_helo_if_needed()
        apart = by.host not in LOOPBACK and not by.tls
        if apart and smtp.has_extn("starttls"):
            smtp.starttls(context=ssl.create_default_context())
        elif apart and by.user:
            return Answer("postponed", "the mail server offers no STARTTLS, and a password is not sent in the clear")
        if by.user:
            smtp.login(by.user, by.password)
    except (OSError, ValueError) as error:
        return Answer("postponed", _not_entered(error))
    return None


def _not_entered(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the mail server refuses user and password of {SERVER} ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}"
    return words(error)


def _hand_over(smtp: smtplib.SMTP, sender: str, recipient: str, content: bytes) -> Answer:
    try:
        code, _ = smtp.mail(sender)
        if code != 250:
            return _refused(code, "the sender")
        code, _ = smtp.rcpt(recipient)
        if code not in (250, 251):
            return _refused(code, "the recipient")
    except (OSError, ValueError) as error:
        return Answer("postponed", words(error))
    try:
        code, _ = smtp.data(content)
    except smtplib.SMTPDataError as error:  # before the mail was out
        return _refused(error.smtp_code, "the mail")
    except OSError as error:
        return Answer("unclear", f"the mail was out, and the answer to it did not come: {words(error)}")
    return SENT if code == 250 else _refused(code, "the mail")


def _refused(code: int, what: str) -> Answer:
    return Answer("undeliverable" if code >= 500 else "postponed", f"the mail server refuses {what} ({code})")
