"""Messages in two languages, as plain text and as simple HTML, made side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final

from routing.amsterdam import AMSTERDAM
from routing.contacts import Contact, Language
from routing.tellings import Written
from schemas.privacy import plain, redact
from workers.clock import moment

#: A larger number would look like a personal one.
LARGEST: Final = 99_999_999
#: Dutch and English.
Pair = tuple[str, str]


class Page:
    """Text and HTML of one language, made side by side."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._text: list[str] = []
        self._html: list[str] = []

    def line(self, said: str) -> None:
        """A paragraph."""
        self._text.append(f"{said}\n")
        self._html.append(f"<p>{_linked(said)}</p>")

    def heading(self, said: str) -> None:
        """Over what follows."""
        self._text.append(f"{said}\n{'-' * min(len(said), 70)}")
        self._html.append(f"<h3>{escape(said)}</h3>")

    def list(self, lines: Sequence[str]) -> None:
        """Some lines."""
        if lines:
            self._text.append("".join(f"- {line}\n" for line in lines))
            self._html.append(f"<ul>{''.join(f'<li>{_linked(line)}</li>' for line in lines)}</ul>")

    def item(self, name: str, lines: Sequence[str]) -> None:
        """A thing with some lines about it."""
        self._text.append(f"{name}\n" + "".join(f"   {line}\n" for line in lines))
        self._html.append(f"<h3>{escape(name)}</h3><ul>{''.join(f'<li>{_linked(line)}</li>' for line in lines)}</ul>")

    @property
    def text(self) -> str:
        """As plain text."""
        return "\n".join(self._text)

    @property
    def html(self) -> str:
        """As HTML."""
        return f'<div lang="{self.language}">{"".join(self._html)}</div>'


def written(subject: Pair, body: Callable[[Language], Page], contact: Contact, data: Mapping[str, Any]) -> Written:
    """A message in the contact's language, with the other one below."""
    first: Language = contact.language
    second: Language = "nl" if first == "en" else "en"
    pages = [body(first), body(second)]
    line = "=" * 70
    foot = "Koppelpunt"
    text = f"{pages[0].text}\n{line}\n{of(('In het Nederlands', 'In English'), second)}\n{line}\n\n{pages[1].text}\n-- \n{foot}\n"
    html = f'<!doctype html><html lang="{first}"><body>{pages[0].html}<hr>{pages[1].html}<hr><p>{foot}</p></body></html>'
    return Written(
        subject=redact(f"[Koppelpunt] {plain(of(subject, first))}")[:200], text=redact(text), html=redact(html), data=masked(data)
    )


def masked(value: Any) -> Any:
    """The same for programs: every text in it masked, and every number small enough."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return min(value, LARGEST) if isinstance(value, int) and not isinstance(value, bool) else value


def of(pair: Pair, language: Language) -> str:
    """The one in this language."""
    return pair[1] if language == "en" else pair[0]


def _linked(said: str) -> str:
    """Escaped; and a line that is an address can be followed."""
    safe = escape(said)
    return f'<a href="{safe}">{safe}</a>' if said.startswith(("https://", "http://")) else safe


def when(at_us: int) -> str:
    """A moment on the clock in Amsterdam."""
    return f"{moment(at_us).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"


def number(n: int, language: Language) -> str:
    """With its thousands apart, unless it is so large that it would look like a personal number."""
    if n > LARGEST:
        return ">99,999,999" if language == "en" else ">99.999.999"
    return f"{n:,}" if language == "en" else f"{n:,}".replace(",", ".")


def span(seconds: float, language: Language) -> str:
    """How long, for people."""
    for size, nl, en in ((86_400, "dagen", "days"), (3_600, "uur", "hours"), (60, "minuten", "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {en if language == 'en' else nl}"
    return f"{seconds:.0f} {'seconds' if language == 'en' else 'seconden'}"
