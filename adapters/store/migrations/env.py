"""Alembic's entry: runs in the transaction that `adapters.store.schema.migrate` opened."""

from alembic import context

from adapters.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
