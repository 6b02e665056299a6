"""Reading the bodies of requests."""

from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from headcount import quick_json
from headcount.errors import BadInputError


class ObjectParser(Parser):
    """Takes JSON objects and nothing else."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's object.

        Raises:
            BadInputError: the body is no JSON, or no object, or is nested deeper than any body has reason to be.
        """
        try:
            body = quick_json.read(request.body)
        except RecursionError as error:
            raise BadInputError("the body is nested too deep") from error
        except ValueError as error:
            raise BadInputError(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadInputError("the body is not a JSON object")
        return body
