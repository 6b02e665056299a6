"""A job's detections are summed up from its batches: counting a large job's one by one keeps its end waiting."""

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def sum_up(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take what a job has found so far for one batch."""
    detections = apps.get_model("headcount_images", "Detection").objects
    found = detections.values_list("job_id").order_by("job_id").annotate(number=models.Count("id"))
    batch = apps.get_model("headcount_images", "SavedBatch")
    batch.objects.bulk_create([batch(job_id=job_id, detections=number) for job_id, number in found])


class Migration(migrations.Migration):
    dependencies = [
        ("headcount_images", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedBatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job_id", models.BigIntegerField(db_index=True)),
                ("detections", models.PositiveIntegerField()),
            ],
        ),
        migrations.RunPython(sum_up, migrations.RunPython.noop),
    ]
