"""Fixtures for the tests here."""

from tests.support.store import empty_url, store

__all__ = ["empty_url", "store"]
