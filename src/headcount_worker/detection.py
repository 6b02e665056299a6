"""What a pipeline's author writes to say "there is something here"."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from headcount_worker import wire


@dataclass(frozen=True)
class Algorithm:
    """A detector or classifier of a pipeline; ``key`` identifies it on the server."""

    key: str
    name: str = ""
    version: str = "1"

    def reference(self) -> wire.AlgorithmReference:
        """Give the algorithm as a result names it."""
        return wire.AlgorithmReference(key=self.key, name=self.name)

    def offer(self) -> wire.AlgorithmOffer:
        """Give the algorithm as a registration names it."""
        return wire.AlgorithmOffer(key=self.key, name=self.name, version=self.version)


@dataclass(frozen=True)
class Label:
    """One answer to "what is it?"; ``scores`` are the model's own numbers, the best first or only one."""

    text: str
    scores: tuple[float, ...]
    algorithm: str | None = None
    terminal: bool = True


@dataclass(frozen=True)
class Detection:
    """One rectangle in an image, in pixels from its top left corner, with any number of labels.

    ``algorithm`` is the key of one of the pipeline's algorithms. Without one, the pipeline's first algorithm is taken
    to have drawn the box, and its last to have given the label.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    labels: tuple[Label, ...] = ()
    algorithm: str | None = None

    @classmethod
    def at(
        cls,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        label: str | None = None,
        score: float | Sequence[float] = 1.0,
        algorithm: str | None = None,
    ) -> "Detection":
        """Make a detection from two corners and, if it is known, a label: ``Detection.at(0, 0, 9, 9, label="moth")``.

        Corners that lie outside the image on the left or the top are moved to its edge, as detectors often draw them
        a little too far. ``score`` is one number or the whole list of the model's scores. Numbers of numpy are taken.
        """
        box = cls(_inside(x1), _inside(y1), _inside(x2), _inside(y2), algorithm=algorithm)
        return box if label is None else box.labelled(label, score)

    def labelled(
        self, text: str, score: float | Sequence[float] = 1.0, *, algorithm: str | None = None, terminal: bool = True
    ) -> "Detection":
        """Give the same detection with one label more; ``terminal=False`` for a step towards a finer label."""
        return replace(self, labels=(*self.labels, Label(text, _as_scores(score), algorithm, terminal)))


DetectionLike = Detection | wire.Detection


def as_wire(
    found: DetectionLike, image_id: str, algorithms: Sequence[Algorithm], moment: datetime | None
) -> wire.Detection:
    """Give a detection as the server reads it.

    Raises TypeError when it is not a detection, ValueError (pydantic's, or for an algorithm the pipeline does not
    have) when it cannot be one.
    """
    if isinstance(found, wire.Detection):
        return found
    if not isinstance(found, Detection):
        raise TypeError(f"expected a Detection, got {type(found).__name__}")
    return wire.Detection(
        source_image_id=image_id,
        bbox=wire.BoundingBox(x1=found.x1, y1=found.y1, x2=found.x2, y2=found.y2),
        algorithm=_chosen(found.algorithm, algorithms, algorithms[0]),
        timestamp=moment,
        classifications=[_classification(label, algorithms, moment) for label in found.labels],
    )


def _classification(label: Label, algorithms: Sequence[Algorithm], moment: datetime | None) -> wire.Classification:
    return wire.Classification(
        classification=label.text,
        scores=list(label.scores),
        algorithm=_chosen(label.algorithm, algorithms, algorithms[-1]),
        terminal=label.terminal,
        timestamp=moment,
    )


def _chosen(key: str | None, algorithms: Iterable[Algorithm], otherwise: Algorithm) -> wire.AlgorithmReference:
    if key is None:
        return otherwise.reference()
    for algorithm in algorithms:
        if algorithm.key == key:
            return algorithm.reference()
    raise ValueError(f"algorithm {key!r} is not one of this pipeline's")


def _inside(corner: float) -> float:
    # The corner stands first, so that a NaN stays one and is refused instead of becoming an edge.
    return max(float(corner), 0.0)


def _as_scores(score: float | Sequence[float]) -> tuple[float, ...]:
    numbers = score if isinstance(score, Iterable) else (score,)
    return tuple(float(number) for number in numbers)
