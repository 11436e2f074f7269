"""`register load`, `diff` and `export`: bulk files, and what is different before they are applied."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from routing.register import Register, read_register
from routing.register_book import RegisterMoved, RowChange
from routing.register_bulk import InTurn
from routing.register_cli import loaded, without_contract
from routing.register_files import Asked, Bulk, Difference, asked, differences, merged, read_file, write_csv
from routing.register_rows import FIELDS
from routing.register_rules import OPERATOR, RuleBroken
from schemas.contracts import Contracts
from workers.clock import micros
from workers.commands import WrongArgument
from workers.register_work import TRIES, Work, acting_as_option, actor_of, as_json, say_below, why_of
from workers.tables import print_json, say

#: Differences shown to a person who does not ask for all of them.
SHOWN: Final = 40


def add_arguments(what: Any, common: Callable[[ArgumentParser], None]) -> None:
    """The three, below `register`."""
    load = what.add_parser("load", help="check a file (JSON, or CSV of one list) and make it the newest version; all or nothing")
    load.add_argument("--dry-run", action="store_true", help="only check")
    load.add_argument("--why", metavar="TEXT", help="the reason, kept with the change (no personal data)")
    diff = what.add_parser("diff", help="what a file would change")
    for parser in (load, diff):
        parser.add_argument("file", type=Path, metavar="FILE", help="JSON: the whole register; CSV: rows to add to a list, or to replace")
        parser.add_argument("--list", metavar="LIST", help="of which list a CSV is (default: as its name begins)")
        parser.add_argument("--add", action="store_true", help="a JSON file too holds only rows to add or to replace")
        parser.add_argument("--all", action="store_true", help=f"show more than {SHOWN} differences")
        acting_as_option(parser)
        common(parser)
    export = what.add_parser("export", help="the whole register as JSON, or one list as CSV")
    export.add_argument("list", nargs="?", metavar="LIST")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: print it)")
    export.add_argument("--at", metavar="MOMENT", help="as it was known then, such as 2026-02-01T14:03")
    common(export)


def load(arguments: Namespace, work: Work, contracts: Contracts) -> int:
    """Makes the changes of a file, unless it is a dry run. Exit 1 when a row of somebody's file was refused. Raises FileError and
    RegisterError."""
    return _file(arguments, work, contracts, apply=not arguments.dry_run)


def diff(arguments: Namespace, work: Work, contracts: Contracts) -> int:
    """Shows them only."""
    return _file(arguments, work, contracts, apply=False)


def export(arguments: Namespace, work: Work, version: int) -> int:
    """Writes what `load` reads. Raises WrongArgument."""
    if arguments.list is not None and arguments.list not in FIELDS:
        raise WrongArgument(f"The register has no list {arguments.list!r}; it has {', '.join(FIELDS)}.")
    if arguments.list is None or arguments.json:
        document = work.book.document(version)
        found: Any = document if arguments.list is None else document[arguments.list]
        if arguments.output:
            with arguments.output.open("w", encoding="utf-8") as file:
                print_json(found, file)
        else:
            print_json(found)
        return 0
    text = write_csv(arguments.list, work.book.rows(arguments.list, version=version))
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8", newline="")
    else:
        sys.stdout.write(text)
    return 0


def _file(arguments: Namespace, work: Work, contracts: Contracts, *, apply: bool) -> int:
    bulk = read_file(arguments.file.name, arguments.file.read_bytes(), list_name=arguments.list, add=arguments.add)
    if arguments.acting_as is not None:
        return _row_by_row(arguments, work, bulk, apply=apply)
    for _ in range(TRIES):
        newest = work.book.newest()
        current = work.book.document(newest)
        document = merged(current, bulk)
        checked = read_register(document, version=newest)
        different = differences(current, checked.to_document())  # type: ignore[arg-type]
        version = 0
        if apply:
            try:
                version = _save(arguments, work, bulk, document, different, newest)
            except RegisterMoved:
                continue
        _tell(arguments, checked, contracts, different if newest or arguments.json else [], version)
        return 0
    raise WrongArgument("Others are changing the register all the time; nothing was loaded. Try again.")


def _save(arguments: Namespace, work: Work, bulk: Bulk, document: Any, different: Sequence[Difference], newest: int) -> int:
    """The new version. A whole document is the register whatever that was; rows are added to the version they were checked against."""
    why = arguments.why or f"load {arguments.file.name}"
    if bulk.whole:
        return work.book.save(document, who=work.who, why=why, now_us=micros(work.now()))
    return work.make([RowChange(one.list, one.key, one.after) for one in different], OPERATOR, why=why, expected=newest)


def _tell(arguments: Namespace, checked: Register, contracts: Contracts, different: Sequence[Difference], version: int) -> None:
    for sentence in without_contract(checked, {(kind.dienst, kind.versie) for kind in contracts.kinds}):
        sys.stderr.write(f"koppelpunt: {sentence}\n")
    only_looked = arguments.what == "diff"
    if arguments.json:
        whole = {"changes": [as_json(one) for one in different]}
        print_json(whole if only_looked else {"version": version, **checked.sizes(), "changes": len(different)})
        return
    if not only_looked:
        say(loaded(checked, version))
    shown = different if arguments.all else different[:SHOWN]
    for one in shown:
        say_below(one.in_words())
    if len(different) > len(shown):
        say(f"  and {len(different) - len(shown)} more; --all shows them.")
    if not different and checked.version:
        say("  nothing is different")


def _row_by_row(arguments: Namespace, work: Work, bulk: Bulk, *, apply: bool) -> int:
    """Each row of a school's, board's or supplier's file on its own: a result for each, and one version of those that are granted. Exit 1
    when one was refused."""
    action = "give a mandate" if isinstance(bulk.rows, dict) and "mandates" in bulk.rows else "add an endpoint"
    for _ in range(TRIES):
        register = work.register()
        actor = actor_of(register, arguments.acting_as, action)
        turn = InTurn(register, actor, work.today, may_call=work.may_call, most=work.most)
        results = [_one_row(turn, row) for row in asked(turn.register, actor, bulk)]
        try:
            made = work.make(turn.changes, actor, why=why_of(arguments), expected=register.version) if apply and turn.changes else 0
        except RegisterMoved:
            continue
        return _tell_rows(arguments, results, f"done in version {made}" if made else "would be done")
    raise WrongArgument("Others are changing the register all the time; nothing was done. Try again.")


def _one_row(turn: InTurn, row: Asked) -> dict[str, Any]:
    """A row is judged by the register as the rows before it leave it."""
    told: dict[str, Any] = {"list": row.list, "row": row.number, "key": row.key, "ok": True, "result": "no change", "nl": "", "en": ""}
    if row.problem is not None:
        return told | {"ok": False, "result": "refused", "nl": row.problem.nl, "en": row.problem.en, "differences": []}
    if row.wish is None:
        return told | {"differences": []}
    try:
        return told | {"result": "", "differences": turn.judge(row.wish)[1]}
    except RuleBroken as broken:
        return told | {"ok": False, "result": "refused", "code": broken.code, "nl": broken.nl, "en": broken.en, "differences": []}


def _tell_rows(arguments: Namespace, results: list[dict[str, Any]], done: str) -> int:
    refused = sum(not result["ok"] for result in results)
    for result in results:
        result["result"] = result["result"] or done
    if arguments.json:
        rows = [{**result, "changes": [as_json(one) for one in result.pop("differences")]} for result in results]
        print_json({"rows": rows, "refused": refused})
    else:
        for result in results:
            say(f"{result['list']} row {result['row']}: {result['result']}  {result['key']}".rstrip())
            for line in (*(one.in_words() for one in result["differences"]), *([result["en"]] if result["en"] else [])):
                say_below(line, "    ")
        say(f"{len(results)} rows, {refused} refused.")
    return 1 if refused else 0
