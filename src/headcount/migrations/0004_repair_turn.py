"""Whoever repairs a run has a turn, so that two health loops never repair it at once."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("headcount", "0003_retry_and_fail_fast"),
    ]

    operations = [
        migrations.CreateModel(
            name="RepairTurn",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job_id", models.BigIntegerField()),
                ("run", models.PositiveIntegerField()),
                ("held_until", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(models.F("job_id"), models.F("run"), name="headcount_repair_turn_once")
                ],
            },
        ),
    ]
