"""The store: messages, the outbox, decisions, the journal and what processes share, on SQLite or PostgreSQL."""

from __future__ import annotations

from adapters.store.alert_facts import AlertFacts
from adapters.store.alerts import AlertBook
from adapters.store.board import Board
from adapters.store.board_keeper import BoardKeeper
from adapters.store.certificates import Certificates
from adapters.store.database import Database, LifecycleError, StoreRefused
from adapters.store.enquiries import Enquiries
from adapters.store.figures import Figures
from adapters.store.hand_in import HandIns
from adapters.store.jobs import Jobs
from adapters.store.journal import Journal
from adapters.store.letters import Letters
from adapters.store.mailboxes import Mailboxes
from adapters.store.outbox import Outbox
from adapters.store.people import People
from adapters.store.proefs import Proefs
from adapters.store.queries import Queries
from adapters.store.register import RegisterBook
from adapters.store.registry import Registry
from adapters.store.repair import Repair
from adapters.store.schema import migrate
from adapters.store.snapshots import Snapshots
from adapters.store.warnings import WarningFacts, Warnings
from routing import board
from routing.work import OutboxFilter

__all__ = ["LifecycleError", "OutboxFilter", "Store", "StoreRefused", "migrate", "open_store"]


class Store:
    """One open store: each part of its work under its own name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.hand_ins = HandIns(database)
        self.outbox = Outbox(database)
        self.mailboxes = Mailboxes(database)
        self.letters = Letters(database)
        self.enquiries = Enquiries(database)
        self.journal = Journal(database)
        self.registry = Registry(database)
        self.register = RegisterBook(database)
        self.snapshots = Snapshots(database)
        self.queries = Queries(database)
        self.repair = Repair(database)
        self.jobs = Jobs(database)
        self.proefs = Proefs(database)
        self.figures = Figures(database)
        self.certificates = Certificates(database)
        self.people = People(database)
        self.board: board.Board = Board(database)
        self.board_keeper = BoardKeeper(database)
        self.alerts = AlertBook(database)
        self.alert_facts = AlertFacts(database)
        self.warnings = Warnings(database)
        self.warning_facts = WarningFacts(database)

    def close(self) -> None:
        """Gives the connections back."""
        self.database.close()


def open_store(url: str, *, upgrade: bool = True) -> Store:
    """Opens the store at a SQLAlchemy URL, and brings its tables up to date. Raises StoreUnavailable."""
    database = Database(url)
    if upgrade:
        migrate(database)
    return Store(database)
