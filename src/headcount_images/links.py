"""Addresses of images that a worker can fetch without a token, and nobody can guess."""

from django.core import signing

_SIGNER = signing.Signer(salt="headcount.picture")


def picture_url(base_url: str, image_id: int | str) -> str:
    """Return the signed address of an image; ``base_url`` is where the server is reached, without a final slash."""
    return f"{base_url}/media/images/{image_id}?signature={_SIGNER.signature(str(image_id))}"


def is_signed(image_id: int, signature: str) -> bool:
    """Whether an address carries the signature it was made with."""
    try:
        _SIGNER.unsign(f"{image_id}:{signature}")
    except signing.BadSignature:
        return False
    return True
