"""The tables of the image domain."""

from django.db import models
from django.db.models import F, Q


class Collection(models.Model):
    """A named set of images of one project."""

    project = models.ForeignKey("headcount.Project", on_delete=models.CASCADE, related_name="collections")
    name = models.CharField(max_length=200)

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("project", "name", name="headcount_images_collection_once"),)

    def __str__(self) -> str:
        return self.name


class Image(models.Model):
    """One image file; ``name`` is its path within the folder it was imported from."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="images", db_index=False)
    name = models.CharField(max_length=1000)
    path = models.CharField(max_length=4000)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField()
    taken_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints."""

        constraints = (
            models.UniqueConstraint("collection", "name", name="headcount_images_image_once"),
            models.CheckConstraint(condition=Q(width__gt=0, height__gt=0), name="headcount_images_image_has_area"),
        )

    def __str__(self) -> str:
        return self.name


class Detection(models.Model):
    """One box that a task's result brought; ``position`` is its place in that result."""

    task = models.ForeignKey("headcount.Task", on_delete=models.CASCADE, related_name="detections", db_index=False)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="detections", db_index=False)
    job_id = models.BigIntegerField(db_index=True)
    position = models.PositiveIntegerField()
    x1 = models.FloatField()
    y1 = models.FloatField()
    x2 = models.FloatField()
    y2 = models.FloatField()
    algorithm = models.CharField(max_length=500)
    detected_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints: the same result cannot be saved twice, and a box is a box."""

        constraints = (
            models.UniqueConstraint("task", "position", name="headcount_images_detection_once"),
            models.CheckConstraint(
                condition=Q(x1__gte=0, y1__gte=0, x2__gte=F("x1"), y2__gte=F("y1")),
                name="headcount_images_detection_is_box",
            ),
        )

    def __str__(self) -> str:
        return f"detection {self.position} of task {self.task_id}"


class SavedBatch(models.Model):
    """How many detections one batch of results brought, so that a job's are summed up and not counted one by one."""

    job_id = models.BigIntegerField(db_index=True)
    detections = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.detections} detections of job {self.job_id}"


class Classification(models.Model):
    """What an algorithm says a detection is."""

    detection = models.ForeignKey(Detection, on_delete=models.CASCADE, related_name="classifications", db_index=False)
    position = models.PositiveIntegerField()
    label = models.CharField(max_length=500)
    scores = models.JSONField(default=list)
    algorithm = models.CharField(max_length=500)
    terminal = models.BooleanField(default=True)
    classified_at = models.DateTimeField(null=True)

    class Meta:
        """Constraints."""

        constraints = (models.UniqueConstraint("detection", "position", name="headcount_images_classification_once"),)

    def __str__(self) -> str:
        return self.label
