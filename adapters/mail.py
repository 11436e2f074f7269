"""Mail to contacts, over SMTP with TLS. The password comes from a file, read at each message, so that it can be replaced.

Every message is marked as made by a program (RFC 3834), so that nobody's absence notice answers it.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from broker_config.settings import LOOPBACK, MailServer
from routing.tellings import Due, NotSent
from schemas.privacy import redact

#: Seconds for each step of the conversation.
STEP_S: Final = 20.0
#: Lines of 7 bits, so that no server has a reason to change what was written.
_POLICY: Final = SMTP.clone(cte_type="7bit", max_line_length=76)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """Sends through one mail server. `starttls` unless the address says `smtps`; in the clear only to this machine itself."""

    server: MailServer
    sender: str  #: From
    password: Path | None = None  #: a file
    ca: Path | None = None  #: CAs that the server's certificate is checked against; None: those of this machine
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=4, thread_name_prefix="mail"), repr=False)

    async def send(self, due: Due) -> None:
        """Hands one message to the mail server. Raises NotSent."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._send, due)

    async def close(self) -> None:
        """Takes no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _send(self, due: Due) -> None:
        try:
            with self._connect() as server:
                self._log_in(server)
                server.send_message(message(due, self.sender), from_addr=self.sender, to_addrs=[due.contact.address])
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise NotSent(f"the mail server does not take this address: {_said(code, said)}", final=code >= 500) from error
        except smtplib.SMTPAuthenticationError as error:
            raise NotSent("the mail server does not take our user and password; see KOPPELPUNT_MAIL_PASSWORD") from error
        except smtplib.SMTPDataError as error:
            raise NotSent(f"the mail server does not take the message: {_said(error.smtp_code, error.smtp_error)}") from error
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"the mail server says {_said(error.smtp_code, error.smtp_error)}") from error
        except smtplib.SMTPNotSupportedError as error:
            raise NotSent(f"the mail server {self.server.host} offers no STARTTLS, or no log-in; use smtps:// or another port") from error
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"the mail server's certificate is not trusted: {error.verify_message}") from error
        except (smtplib.SMTPException, OSError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise NotSent(f"the mail server {self.server.host} cannot be used: {why}") from error

    def _connect(self) -> smtplib.SMTP:
        name = self.sender.rpartition("@")[2]
        if self.server.tls:
            context = ssl.create_default_context(cafile=self.ca)
            return smtplib.SMTP_SSL(self.server.host, self.server.port, local_hostname=name, timeout=STEP_S, context=context)
        connected = smtplib.SMTP(self.server.host, self.server.port, local_hostname=name, timeout=STEP_S)
        try:
            connected.ehlo()
            if connected.has_extn("starttls") or self.server.host not in LOOPBACK:
                connected.starttls(context=ssl.create_default_context(cafile=self.ca))
        except BaseException:
            connected.close()
            raise
        return connected

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self.server.user:
            try:
                password = self.password.read_text(encoding="utf-8").strip() if self.password else ""
            except OSError as error:
                raise NotSent(f"the mail password cannot be read: {error.strerror}") from error
            server.login(self.server.user, password)


def message(due: Due, sender: str) -> EmailMessage:
    """The message as it is sent: the same at every attempt, but for the boundaries between its parts."""
    written = due.written
    made = EmailMessage(policy=_POLICY)
    made["From"] = f"Koppelpunt <{sender}>"
    made["To"] = due.contact.address
    made["Subject"] = written.subject
    made["Date"] = format_datetime(datetime.fromtimestamp(due.made_us / 1e6, UTC))
    made["Message-ID"] = f"<{due.id}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Auto-Response-Suppress"] = "All"
    made.set_content(written.text)
    made.add_alternative(written.html, subtype="html")
    if written.attachment is not None:
        name, text = written.attachment
        made.add_attachment(text.encode(), maintype="text", subtype="csv", filename=name)
    return made


def _said(code: int, text: bytes | str) -> str:
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return redact(f"{code} {' '.join(said.split())[:160]}")
