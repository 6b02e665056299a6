"""How long a job has stood still is kept beside it, in a table that the health loop alone writes."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("headcount", "0004_repair_turn"),
    ]

    operations = [
        migrations.CreateModel(
            name="JobPatience",
            fields=[
                (
                    "job",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="patience",
                        serialize=False,
                        to="headcount.job",
                    ),
                ),
                ("run", models.PositiveIntegerField()),
                ("watched_at", models.DateTimeField()),
                ("mark", models.CharField(max_length=200)),
                ("moved_at", models.DateTimeField()),
                ("idle_seconds", models.FloatField(default=0.0)),
                ("unserved_seconds", models.FloatField(default=0.0)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("run__gte", 1)), name="headcount_patience_run_from_one"),
                    models.CheckConstraint(
                        condition=models.Q(("idle_seconds__gte", 0), ("unserved_seconds__gte", 0)),
                        name="headcount_patience_not_negative",
                    ),
                ],
            },
        ),
    ]
