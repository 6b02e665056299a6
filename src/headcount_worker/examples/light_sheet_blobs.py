"""An example pipeline: finds the insects on a light sheet with classic image processing, in a tenth of a second.

``headcount-worker --pipeline headcount_worker.examples.light_sheet_blobs:light_sheet_blobs`` runs it. It needs no
model and no graphics card, and tells "something sits here", not which species; a detector of your own goes in the
same place. It expects a bright, roughly even sheet that fills most of the photo.
"""

from collections.abc import Iterator

import cv2

from headcount_worker.detection import Algorithm, Detection
from headcount_worker.examples.blobs import Blob, find_blobs
from headcount_worker.examples.decoding import decode_photo
from headcount_worker.image import Image
from headcount_worker.pipeline import pipeline

__all__ = ["Blob", "find_blobs", "light_sheet_blobs"]

LABEL = "insect"
DETECTOR = Algorithm("light-sheet-blobs", "Light sheet blobs", "1")

# One worker uses one core; OpenCV's own threads would only make the workers of one machine wait for each other.
cv2.setNumThreads(1)


@pipeline(slug="light-sheet-blobs", name="Light sheet blobs", version="1", algorithms=[DETECTOR])
def light_sheet_blobs(image: Image) -> Iterator[Detection]:
    """Find the insects in one photo; raises UnreadablePhotoError (a ValueError) that says why it cannot."""
    for blob in find_blobs(decode_photo(image.content)):
        yield Detection.at(blob.x1, blob.y1, blob.x2, blob.y2, label=LABEL, score=blob.score)
