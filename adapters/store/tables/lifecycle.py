"""Triggers that make the database refuse any move that `schemas.lifecycle` does not list, and any other birth."""

from __future__ import annotations

from typing import Final

from adapters.store.tables.shared import quoted
from schemas.lifecycle import DELIVERY_BORN, DELIVERY_MOVES, MESSAGE_MOVES, MessageState


def _moves(table: dict[str, list[str]]) -> str:
    return ", ".join(f"'{before}>{after}'" for before, afters in table.items() for after in afters)


MESSAGE_PAIRS: Final = _moves({str(b): [str(a) for a in sorted(after)] for b, after in MESSAGE_MOVES.items()})
DELIVERY_PAIRS: Final = _moves({str(b): [str(a) for a in sorted(after)] for b, after in DELIVERY_MOVES.items()})


def lifecycle_triggers(dialect: str) -> list[str]:
    """Statements that make the database refuse any move that `schemas.lifecycle` does not list, and any other birth."""
    born = {"message": quoted([str(MessageState.RECEIVED)]), "delivery": quoted([str(s) for s in sorted(DELIVERY_BORN)])}
    pairs = {"message": MESSAGE_PAIRS, "delivery": DELIVERY_PAIRS}
    statements = []
    for name in ("message", "delivery"):
        if dialect == "sqlite":
            statements += [
                f"CREATE TRIGGER {name}_born BEFORE INSERT ON {name} WHEN NEW.state NOT IN ({born[name]}) "
                f"BEGIN SELECT RAISE(ABORT, 'lifecycle: a {name} is not born in this state'); END",
                f"CREATE TRIGGER {name}_moves BEFORE UPDATE OF state ON {name} "
                f"WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs[name]}) "
                f"BEGIN SELECT RAISE(ABORT, 'lifecycle: a {name} may not make this move'); END",
            ]
        else:
            statements += [
                f"CREATE FUNCTION {name}_lifecycle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF TG_OP = 'INSERT' THEN IF NEW.state NOT IN ({born[name]}) THEN "
                f"RAISE EXCEPTION 'lifecycle: a {name} is not born in this state'; END IF; "
                f"ELSIF OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({pairs[name]}) THEN "
                f"RAISE EXCEPTION 'lifecycle: a {name} may not make this move'; END IF; RETURN NEW; END $$",
                f"CREATE TRIGGER {name}_born BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_lifecycle()",
                f"CREATE TRIGGER {name}_moves BEFORE UPDATE OF state ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_lifecycle()",
            ]
    return statements


def drop_lifecycle_triggers(dialect: str) -> list[str]:
    """Statements that remove them, so that a changed lifecycle can take their place."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}_{what}" for name in ("message", "delivery") for what in ("born", "moves")]
    return [f"DROP FUNCTION IF EXISTS {name}_lifecycle() CASCADE" for name in ("message", "delivery")]
