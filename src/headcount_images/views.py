"""Serves the image files to workers."""

from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponseBase

from headcount.errors import ForbiddenError, NotFoundError
from headcount.problems import problem_response
from headcount_images.links import is_signed
from headcount_images.models import Image


def picture(request: HttpRequest, image_id: int) -> HttpResponseBase:
    """Answer with an image file, or a problem document saying why not."""
    if not is_signed(image_id, request.GET.get("signature", "")):
        return problem_response(ForbiddenError("the address carries no valid signature; take it from a claimed task"))
    path = Image.objects.filter(pk=image_id).values_list("path", flat=True).first()
    if path is None:
        return problem_response(NotFoundError(f"there is no image {image_id}"))
    try:
        return FileResponse(Path(path).open("rb"))
    except OSError as error:
        return problem_response(NotFoundError(f"the image file cannot be read: {error.strerror}"))
