"""Diensten beside those that are shipped: the proef dienst again, with something else in its contract."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.contracts import BUILT_IN


def variant(versie: str, *changes: tuple[str, str]) -> Path:
    """A folder with the proef dienst as another version, with these changes to its `dienst.toml`."""
    folder = Path(tempfile.mkdtemp(prefix="koppelpunt-diensten-"))
    version = folder / "proef" / versie
    shutil.copytree(BUILT_IN / "proef/1", version)
    for name in ("dienst.toml", "proef.xsd"):
        text = (version / name).read_text(encoding="utf-8").replace("proef:1", f"proef:{versie}")
        for old, new in (('versie = "1"', f'versie = "{versie}"'), *changes) if name == "dienst.toml" else ():
            assert old in text, old
            text = text.replace(old, new, 1)
        (version / name).write_text(text, encoding="utf-8")
    return folder


def registered(document: Mapping[str, Any], versie: str) -> dict[str, Any]:
    """The register with that version, and with an endpoint for it wherever there is one for version 1."""
    row = {"dienst": "proef", "versie": versie, "namespace": f"urn:x-backbone:proef:{versie}"}
    more = [{**endpoint, "versie": versie} for endpoint in document["endpoints"] if endpoint["dienst"] == "proef"]
    return {**document, "diensten": [*document["diensten"], row], "endpoints": [*document["endpoints"], *more]}
