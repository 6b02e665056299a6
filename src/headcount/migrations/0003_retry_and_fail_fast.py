"""A job knows whether it fails fast and which of its tasks a retry leaves out; progress rows know their run."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("headcount", "0002_append_only"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="fail_fast",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="job",
            name="set_aside",
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="jobstage",
            name="run",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("set_aside", 0), ("set_aside__lte", models.F("task_total")), _connector="OR"),
                name="headcount_job_set_aside_within_total",
            ),
        ),
    ]
