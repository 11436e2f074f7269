"""Cells of CSV files that people open in a spreadsheet: none of them is ever a formula, whichever sign the spreadsheet splits at."""

from __future__ import annotations

from typing import Final

#: What a cell would begin with that a spreadsheet works out.
_FORMULA: Final = ("=", "+", "-", "@")
#: A spreadsheet that is set to another sign than our comma splits at these, in quotes or not; a comma stays in its quotes.
_SPLITS: Final = str.maketrans({";": ",", "\t": " ", "\r": " ", "\n": " ", "\v": " ", "\f": " ", "\x85": " ", "\u2028": " ", "\u2029": " "})


def cell(value: object) -> object:
    """A value in a file. Text is kept from being a formula, or from becoming one where the file is split at semicolons or tabs; numbers
    stay as they are, and nothing is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = str(value).translate(_SPLITS)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
