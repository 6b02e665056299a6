"""The worker side of Headcount: claim images, run a pipeline over them, post what it found.

A pipeline is a decorated function::

    from headcount_worker import Algorithm, Detection, Image, pipeline

    @pipeline(slug="moths", name="Moth finder", algorithms=[Algorithm("moth-boxes", "Moth boxes")])
    def find_moths(image: Image):
        for x1, y1, x2, y2, score in my_model(image.content):
            yield Detection.at(x1, y1, x2, y2, label="moth", score=score)

and ``headcount-worker --pipeline my_module:find_moths`` runs it.
"""

from headcount_worker.detection import Algorithm, Detection
from headcount_worker.image import Image
from headcount_worker.pipeline import Pipeline, pipeline
from headcount_worker.run import PostedOutcome, run_pipeline

__all__ = ["Algorithm", "Detection", "Image", "Pipeline", "PostedOutcome", "pipeline", "run_pipeline"]
