"""What cannot be done, said once in Dutch and once in English: pages show the visitor's own, the command line and logs the English one."""

from __future__ import annotations


class Said(Exception):
    """Something that cannot be; each language has one sentence that says why, and what to do instead. As text it is the English one."""

    def __init__(self, en: str, nl: str = "") -> None:
        """`nl`: the Dutch sentence; what no page ever shows may go without."""
        super().__init__(en)
        self.en, self.nl = en, nl or en

    def in_language(self, language: str) -> str:
        """The sentence in this language: `nl` or `en`."""
        return self.nl if language == "nl" else self.en
