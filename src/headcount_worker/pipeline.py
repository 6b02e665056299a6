"""The decorator that turns a function into a pipeline."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, overload

from headcount_worker.detection import Algorithm, DetectionLike
from headcount_worker.image import Image
from headcount_worker.wire import PipelineOffer

ImageFunction = Callable[[Image], Iterable[DetectionLike]]
BatchFunction = Callable[[Sequence[Image]], Iterable[Iterable[DetectionLike]]]


@dataclass(frozen=True)
class Pipeline:
    """A function that looks at images, and what the server needs to know about it. Called, it calls the function.

    ``batch`` tells whether the function takes one image and gives its detections, or a list of images and gives one
    list of detections for each, in the same order.
    """

    slug: str
    name: str
    version: str
    algorithms: tuple[Algorithm, ...]
    function: ImageFunction | BatchFunction
    batch: bool = False

    def __call__(self, images: Any) -> Any:
        """Call the decorated function itself, as its author wrote it."""
        return self.function(images)

    def look_at(self, images: Sequence[Image]) -> list[list[DetectionLike]]:
        """Give the detections of each image, in the images' order; what the function raises is let through."""
        if self.batch:
            return [list(found) for found in cast(BatchFunction, self.function)(images)]
        return [list(cast(ImageFunction, self.function)(image)) for image in images]

    def offer(self) -> PipelineOffer:
        """Give the pipeline as a registration names it; raises pydantic's ValidationError for an unusable name."""
        return PipelineOffer(
            slug=self.slug,
            name=self.name,
            version=self.version,
            algorithms=[algorithm.offer() for algorithm in self.algorithms],
        )


@overload
def pipeline(
    *,
    slug: str,
    name: str = ...,
    version: str = ...,
    algorithms: Sequence[Algorithm] = ...,
    batch: Literal[False] = ...,
) -> Callable[[ImageFunction], Pipeline]: ...


@overload
def pipeline(
    *, slug: str, name: str = ..., version: str = ..., algorithms: Sequence[Algorithm] = ..., batch: Literal[True]
) -> Callable[[BatchFunction], Pipeline]: ...


def pipeline(
    *,
    slug: str,
    name: str = "",
    version: str = "1",
    algorithms: Sequence[Algorithm] = (),
    batch: bool = False,
) -> Callable[[Any], Pipeline]:
    """Make a pipeline of the function below it.

    ``slug`` is how jobs name the pipeline; ``name`` is for people and is the slug when left out. A pipeline without
    ``algorithms`` has one that is named like itself. With ``batch=True`` the function takes a list of images.
    Raises pydantic's ValidationError when a name is empty or too long::

        @pipeline(slug="brightest-corner")
        def brightest_corner(image):
            yield Detection.at(0, 0, 10, 10, label="corner", score=0.5)
    """
    known = tuple(algorithms) or (Algorithm(slug, name or slug, version),)

    def decorate(function: ImageFunction | BatchFunction) -> Pipeline:
        made = Pipeline(slug, name or slug, version, known, function, batch)
        made.offer()
        return made

    return decorate
