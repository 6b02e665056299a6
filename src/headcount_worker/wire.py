"""The JSON that workers and the server exchange, as validated models.

Both sides read with these models. Workers in the field are older or newer than the server, so unknown fields are
ignored, ids may be numbers or strings, and a time without an offset is taken as UTC. What a database cannot keep
(NUL characters, lone surrogates, infinities, unbounded lists) is refused here, at the door.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)

MAX_LABEL_LENGTH: Final = 500
MAX_URL_LENGTH: Final = 8_000
MAX_TOKEN_LENGTH: Final = 2_000
MAX_REASON_LENGTH: Final = 2_000
MAX_DETECTIONS: Final = 10_000
MAX_CLASSIFICATIONS: Final = 1_000
MAX_SCORES: Final = 100_000
MAX_SOURCE_IMAGES: Final = 10_000


def storable_reason(value: object) -> object:
    """Make any text fit to be kept as a reason: unstorable characters replaced, cut to ``MAX_REASON_LENGTH``.

    A reason is read by people and decides nothing, so it is mended here where every other string is refused.
    """
    if not isinstance(value, str):
        return value
    cleaned = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8").strip()
    return cleaned[:MAX_REASON_LENGTH] or "no reason given"


def in_utc(moment: datetime) -> datetime:
    """Give the moment in UTC; a time without an offset is taken as UTC already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is outside the years 1 to 9999 in UTC") from error


def _absent_as_empty(value: object) -> object:
    return "" if value is None else value


def _absent_as_no_fields(value: object) -> object:
    return {} if value is None else value


# Checked by the compiled validator, which also refuses lone surrogates: a Python function here is called twenty times
# for each result, and took a third of the time the server spends on one.
NO_NUL: Final = r"^[^\x00]*$"
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LABEL_LENGTH, pattern=NO_NUL),
    Field(coerce_numbers_to_str=True),
]
Label = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LABEL_LENGTH, pattern=NO_NUL)]
OptionalLabel = Annotated[
    str,
    StringConstraints(max_length=MAX_LABEL_LENGTH, pattern=NO_NUL),
    Field(coerce_numbers_to_str=True),
    BeforeValidator(_absent_as_empty),
]
Version = Annotated[
    str, StringConstraints(max_length=MAX_LABEL_LENGTH, pattern=NO_NUL), Field(coerce_numbers_to_str=True)
]
Url = Annotated[str, StringConstraints(max_length=MAX_URL_LENGTH, pattern=NO_NUL), BeforeValidator(_absent_as_empty)]
LeaseToken = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TOKEN_LENGTH, pattern=NO_NUL)]
Reason = Annotated[str, StringConstraints(max_length=MAX_REASON_LENGTH), BeforeValidator(storable_reason)]
FiniteNumber = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Moment = Annotated[datetime, AfterValidator(in_utc)]


class WireModel(BaseModel):
    """What every message shares: it cannot be changed after it was read, and ignores fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AlgorithmReference(WireModel):
    """Which algorithm made a detection or a classification."""

    key: Label
    name: OptionalLabel = ""


class BoundingBox(WireModel):
    """A rectangle in pixels from the image's top left corner; ``x2 >= x1`` and ``y2 >= y1``."""

    x1: Pixels
    y1: Pixels
    x2: Pixels
    y2: Pixels

    @model_validator(mode="after")
    def _corners_are_in_order(self) -> "BoundingBox":
        if self.x2 < self.x1 or self.y2 < self.y1:
            raise ValueError("x2 must be at least x1, and y2 at least y1")
        return self


class Classification(WireModel):
    """One label given to a detection; ``terminal`` is false for a step on the way to a finer label."""

    classification: Label
    scores: list[FiniteNumber] = Field(max_length=MAX_SCORES)
    algorithm: AlgorithmReference
    terminal: bool = True
    timestamp: Moment | None = None


class Detection(WireModel):
    """Something found in one image: where, by which algorithm, and what it may be."""

    source_image_id: Identifier
    bbox: BoundingBox
    algorithm: AlgorithmReference
    timestamp: Moment | None = None
    classifications: list[Classification] = Field(default_factory=list, max_length=MAX_CLASSIFICATIONS)


class SourceImage(WireModel):
    """An image that the pipeline looked at, whether or not it found anything there."""

    id: Identifier
    url: Url = ""


class TaskOutput(WireModel):
    """What a pipeline found in one task; ``total_time`` is in seconds."""

    pipeline: Label
    total_time: FiniteNumber = Field(ge=0)
    source_images: list[SourceImage] = Field(max_length=MAX_SOURCE_IMAGES)
    detections: list[Detection] = Field(max_length=MAX_DETECTIONS)


class TaskError(WireModel):
    """Why one task could not be done, in words for the person who submitted the job."""

    error: Reason
    image_id: Identifier | None = None


def _kind_of_result(value: Any) -> str:
    """Tell an error from an output, so that a malformed output is explained as an output and not as both."""
    if isinstance(value, dict):
        return "error" if "error" in value and "detections" not in value else "output"
    return "error" if isinstance(value, TaskError) else "output"


TaskResult = Annotated[
    Annotated[TaskOutput, Tag("output")] | Annotated[TaskError, Tag("error")], Discriminator(_kind_of_result)
]


class PostedResult(WireModel):
    """The result of one leased task; ``reply_subject`` is the lease token the task was claimed with."""

    reply_subject: LeaseToken
    result: TaskResult


class PostedResults(WireModel):
    """The body of ``POST jobs/{id}/result``."""

    results: list[PostedResult]
    worker: OptionalLabel = ""


class ClaimRequest(WireModel):
    """The body of ``POST tasks/claim``; ``wait_seconds`` is how long to wait for a first task."""

    pipelines: list[Label]
    batch_size: int = Field(gt=0)
    wait_seconds: FiniteNumber = Field(default=0, ge=0)
    worker: OptionalLabel = ""


class ClaimedTask(WireModel):
    """One task handed to a worker under a lease; fields this version does not know are kept in ``model_extra``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Identifier
    image_id: OptionalLabel = ""
    image_url: Url = ""
    reply_subject: LeaseToken
    payload: Annotated[dict[str, JsonValue], BeforeValidator(_absent_as_no_fields)] = Field(default_factory=dict)


class ClaimedBatch(WireModel):
    """The answer of ``POST tasks/claim``: tasks of one job, none after a long poll in which nothing came.

    ``ack_wait_seconds`` is how long each lease lasts unless it is extended. ``pipeline`` is the slug of the job's
    pipeline; a worker that offers several needs it.
    """

    job_id: int | None = None
    pipeline: OptionalLabel = ""
    tasks: list[ClaimedTask] = Field(default_factory=list)
    ack_wait_seconds: FiniteNumber = Field(default=30, gt=0)

    @model_validator(mode="after")
    def _tasks_belong_to_a_job(self) -> "ClaimedBatch":
        if self.tasks and self.job_id is None:
            raise ValueError("tasks without a job_id")
        return self


class TaskAnswer(WireModel):
    """What became of one posted result; a worker takes a status it does not know as accepted."""

    reply_subject: LeaseToken
    status: str = Field(examples=["saved", "duplicate", "stale", "rejected"])
    task_id: Identifier | None = None
    reason: Reason | None = None


class ResultsAccepted(WireModel):
    """The answer of ``POST jobs/{id}/result``; servers of the first generation send no ``tasks``."""

    status: str = "accepted"
    job_id: int
    results_queued: int
    tasks: list[TaskAnswer] = Field(default_factory=list)


class LeaseList(WireModel):
    """The body of ``POST tasks/extend`` and ``POST tasks/release``."""

    leases: list[LeaseToken]


class LeaseAnswer(WireModel):
    """What became of one lease that was extended or released."""

    reply_subject: LeaseToken
    status: str = Field(examples=["extended", "released", "stale", "cancelled", "done", "rejected"])
    reason: Reason | None = None


class LeaseAnswers(WireModel):
    """The answer of ``POST tasks/extend`` and ``POST tasks/release``."""

    leases: list[LeaseAnswer] = Field(default_factory=list)


class AlgorithmOffer(WireModel):
    """An algorithm of an offered pipeline."""

    key: Label
    name: OptionalLabel = ""
    version: Version = ""


class PipelineOffer(WireModel):
    """A pipeline that a processing service says it can run."""

    name: Label
    slug: Label
    version: Version = ""
    algorithms: list[AlgorithmOffer] = Field(default_factory=list, max_length=MAX_CLASSIFICATIONS)


class Registration(WireModel):
    """The body of ``POST projects/{id}/pipelines``."""

    processing_service_name: Label
    pipelines: list[PipelineOffer]


class TokenIdentity(WireModel):
    """The answer of ``GET me``: the project a token is bound to, and what it may do there."""

    project_id: int
    scopes: list[str] = Field(default_factory=list)


class Problem(WireModel):
    """An RFC 9457 problem document."""

    type: str = "about:blank"
    title: str = ""
    status: int | None = None
    detail: str = ""
