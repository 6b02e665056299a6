"""Events and certificates are append-only: the database itself refuses to change them."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

TABLES = ("headcount_jobevent", "headcount_certificate")

POSTGRESQL_FUNCTION = """
CREATE FUNCTION headcount_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION headcount_refuse_update()
"""
SQLITE_TRIGGER = """
CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END
"""


def forbid_updates(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRESQL_FUNCTION, params=None)
    template = POSTGRESQL_TRIGGER if schema_editor.connection.vendor == "postgresql" else SQLITE_TRIGGER
    for table in TABLES:
        schema_editor.execute(template.format(table=table), params=None)


def allow_updates(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    on_table = " ON {table}" if schema_editor.connection.vendor == "postgresql" else ""
    for table in TABLES:
        schema_editor.execute(f"DROP TRIGGER {table}_append_only" + on_table.format(table=table), params=None)
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP FUNCTION headcount_refuse_update()", params=None)


class Migration(migrations.Migration):
    dependencies = [("headcount", "0001_initial")]
    operations = [migrations.RunPython(forbid_updates, allow_updates)]
