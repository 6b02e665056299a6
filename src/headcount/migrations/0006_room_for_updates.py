"""On PostgreSQL a page of the ledger keeps room for the next version of each of its rows.

A task row is updated when it is handed out and when it is accounted. Where the new version fits on the row's own page,
no index is touched (a "heap-only tuple"); on full pages each update writes to all three indexes of the table.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

FILLED_PERCENT = 45


def keep_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _set(schema_editor, f"SET (fillfactor = {FILLED_PERCENT})")


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    _set(schema_editor, "RESET (fillfactor)")


def _set(schema_editor: BaseDatabaseSchemaEditor, option: str) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE headcount_task {option}")


class Migration(migrations.Migration):
    dependencies = [
        ("headcount", "0005_job_patience"),
    ]

    operations = [migrations.RunPython(keep_room, fill)]
