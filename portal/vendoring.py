"""Makes `portal/static/vendor` anew from npm: only the components and tokens that our pages use. `python -m portal.vendoring` (needs npm).

What is made is kept in the source, so nobody needs npm to run Koppelpunt.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "static" / "vendor"
#: npm package, at least its major version, and what of it we have.
COMPONENTS: Final = "@utrecht/component-library-css@9"
TOKENS: Final = "@nl-design-system-unstable/voorbeeld-design-tokens@7"
HTMX: Final = "htmx.org@2"
SSE: Final = "htmx-ext-sse@2"

#: Classes of components that pages may use; whoever needs another adds it here and runs this.
USED: Final = (
    "alert",
    "breadcrumb-nav",
    "button",
    "button-group",
    "button-link",
    "checkbox",
    "code",
    "code-block",
    "data-badge",
    "data-list",
    "form-field",
    "form-field-description",
    "form-field-error-message",
    "form-fieldset",
    "form-label",
    "heading-1",
    "heading-2",
    "heading-3",
    "heading-4",
    "link",
    "ordered-list",
    "pagination",
    "paragraph",
    "radio-button",
    "select",
    "separator",
    "skip-link",
    "status-badge",
    "table",
    "textarea",
    "textbox",
    "unordered-list",
)
_HEAD: Final = """/* NL Design System: components of @utrecht/component-library-css and tokens of the theme Voorbeeld, as far as our pages
 * use them (portal/vendoring.py). @license EUPL-1.2.
 * Copyright (c) 2020-2026 Frameless B.V., Gemeente Utrecht, the NL Design System community. */
"""
_CLASS: Final = re.compile(r"\.utrecht-([a-z0-9-]+)")
_VAR: Final = re.compile(r"var\((--[a-z0-9-]+)")
_TOKEN: Final = re.compile(r"^\s*(--[a-z0-9-]+):\s*(.*?);(?:\s*/\*.*\*/)?\s*$", re.MULTILINE)
#: States that a page of ours is never given by class, and boxes drawn with pictures inside the CSS, which our CSP keeps out.
_NOT_OURS: Final = re.compile(r"--custom|(?:--|\.)(?:active|hover|focus|focus-visible|pressed)\b(?!-)")


def main() -> int:
    """Fetches, trims and writes."""
    with tempfile.TemporaryDirectory() as folder:
        components, tokens, htmx, sse = (_fetch(name, Path(folder)) for name in (COMPONENTS, TOKENS, HTMX, SSE))
        css = _trimmed((components / "dist/index.css").read_text(encoding="utf-8"))
        found = dict(_TOKEN.findall((tokens / "dist/theme.css").read_text(encoding="utf-8")))
        (FOLDER / "utrecht.css").write_text(_HEAD + ":root {\n" + "".join(_needed(css, found)) + "}\n" + css, encoding="utf-8")
        (FOLDER / "htmx.min.js").write_bytes((htmx / "dist/htmx.min.js").read_bytes())
        (FOLDER / "htmx-sse.js").write_bytes((sse / "sse.js").read_bytes())
        for package, name in (
            (components, "LICENSE-utrecht.md"),
            (tokens, "LICENSE-tokens.md"),
            (htmx, "LICENSE-htmx"),
            (sse, "LICENSE-htmx-sse"),
        ):
            (licence,) = package.glob("LICENSE*")
            (FOLDER / name).write_bytes(licence.read_bytes())
        (FOLDER / "VERSIONS.md").write_text(_versions(components, tokens, htmx, sse), encoding="utf-8")
    return 0


def _fetch(name: str, folder: Path) -> Path:
    """The unpacked package."""
    packed = subprocess.run(["npm", "pack", "--json", name], cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603, S607
    file = folder / str(json.loads(packed.stdout)[0]["filename"])
    with tarfile.open(file) as archive:
        archive.extractall(folder / file.stem, filter="data")
    return folder / file.stem / "package"


def _versions(*packages: Path) -> str:
    rows = []
    for package in packages:
        about = json.loads((package / "package.json").read_text(encoding="utf-8"))
        (licence,) = package.glob("LICENSE*")
        name = about.get("license") or licence.read_text(encoding="utf-8").partition("\n")[0].strip(" #")
        rows.append(f"| {about['name']} | {about['version']} | {name} |\n")
    return (
        "Made by `python -m portal.vendoring`; change nothing here by hand.\n\n"
        "| npm package | version | licence |\n| --- | --- | --- |\n" + "".join(rows) + "\n"
        "`utrecht.css` holds of the first only the components that our pages use, and of the second only the tokens that those need.\n"
    )


def _rules(css: str) -> Iterator[tuple[str, str]]:
    """Each rule at this level: what stands before its braces, and between them."""
    at = 0
    while (start := css.find("{", at)) >= 0:
        depth, end = 1, start + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(css[end], 0)
            end += 1
        yield css[at:start].rpartition(";")[2].strip(), css[start + 1 : end - 1]
        at = end


def _trimmed(css: str) -> str:
    """The rules of the components that are used, without comments."""
    return "".join(_kept(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)))


def _kept(css: str) -> Iterator[str]:
    for before, body in _rules(css):
        if before.startswith("@"):
            inner = "" if before.startswith("@keyframes") else "".join(_kept(body))
            if inner:
                yield f"{before} {{\n{inner}}}\n"
            continue
        selectors = [one for one in _selectors(before) if _is_used(one)]
        declarations = [" ".join(part.split()) for part in body.split(";") if part.strip()]
        if selectors and declarations:
            yield f"{', '.join(selectors)} {{ {'; '.join(declarations)} }}\n"


def _selectors(before: str) -> list[str]:
    """Split at commas outside parentheses."""
    return [" ".join(part.split()) for part in re.split(r",(?![^()]*\))", before)]


def _is_used(selector: str) -> bool:
    names = [_component(name) for name in _CLASS.findall(selector)]
    return bool(names) and all(name in USED for name in names) and not _NOT_OURS.search(selector)


def _component(name: str) -> str:
    """The component of a class: what stands before its element or modifier."""
    return re.split(r"__|--", name)[0]


def _needed(css: str, tokens: dict[str, str]) -> Iterable[str]:
    """The tokens that this CSS names, those that these name, and so on."""
    wanted, todo = set[str](), _VAR.findall(css)
    while todo:
        name = todo.pop()
        if name in tokens and name not in wanted:
            wanted.add(name)
            todo += _VAR.findall(tokens[name])
    return [f"  {name}: {tokens[name]};\n" for name in tokens if name in wanted]


if __name__ == "__main__":
    sys.exit(main())
