"""A push service: serves pipelines over HTTP to a Headcount server that can reach this machine.

``POST /process`` takes ``{"pipeline": slug, "source_images": [{"id", "url"}]}`` and answers what the pipeline found,
with ``errors`` for images it could not look at. An image whose server is away is left out, to be asked for again.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Final

import click
import structlog
from pydantic import Field, ValidationError

from headcount_worker.cli import BadInput, OneLineCommand
from headcount_worker.download import Downloader
from headcount_worker.errors import StartError, UnreachableImageError, UnusableImageError
from headcount_worker.image import Image
from headcount_worker.logs import configure_logs
from headcount_worker.pipeline import Pipeline
from headcount_worker.resolve import resolve_all
from headcount_worker.run import first_complaint, run_pipeline
from headcount_worker.settings import WorkerSettings
from headcount_worker.signals import run_until_signalled
from headcount_worker.stopping import Stopping
from headcount_worker.wire import MAX_SOURCE_IMAGES, Label, SourceImage, TaskError, TaskOutput, WireModel

log = structlog.get_logger("headcount_worker")

BODY_LIMIT: Final = 16 * 2**20
_SLOW_CLIENT_SECONDS: Final = 60


class ProcessRequest(WireModel):
    """The body of ``POST /process``."""

    pipeline: Label
    source_images: list[SourceImage] = Field(max_length=MAX_SOURCE_IMAGES)


class ProcessAnswer(TaskOutput):
    """The answer of ``POST /process``: one output over the images, and the errors of those that have none."""

    errors: list[TaskError] = Field(default_factory=list)


class RefusedRequestError(Exception):
    """A request that cannot be served as it is; ``status`` is what it is answered with."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class PushServer:
    """Pipelines, served. Images are downloaded side by side; a pipeline works on one batch at a time.

    Raises:
        StartError: the address cannot be listened on.
    """

    def __init__(self, pipelines: Sequence[Pipeline], host: str, port: int, stopping: Stopping) -> None:
        self.pipelines = {pipeline.slug: pipeline for pipeline in pipelines}
        self._stopping = stopping
        # No server of its own: the images' addresses are complete, and no token goes out.
        self._settings = WorkerSettings(server="", token="")
        self._downloader = Downloader(self._settings, stopping.draining)
        self._working = Lock()
        try:
            self._http = _Listener((host, port), self)
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def run(self) -> int:
        """Serve until told to stop; requests under way are answered. Gives the exit code."""
        watcher = Thread(target=self._close_when_told, name="headcount-push-stop")
        watcher.start()
        log.info("serving", url=self.url, pipelines=", ".join(self.pipelines))
        with self._http:
            self._http.serve_forever()
        watcher.join()
        self._downloader.close()
        return 0

    def process(self, request: ProcessRequest) -> ProcessAnswer:
        """Run a pipeline over a batch; raises RefusedRequestError for a pipeline it does not have."""
        pipeline = self.pipelines.get(request.pipeline)
        if pipeline is None:
            raise RefusedRequestError(
                HTTPStatus.NOT_FOUND, f"no pipeline {request.pipeline!r}; there are: {', '.join(self.pipelines)}"
            )
        images, errors = self._fetch(request.source_images)
        with self._working:
            outcomes = run_pipeline(pipeline, images)
        results = [outcome.result for outcome in outcomes]
        failed = [result for result in results if isinstance(result, TaskError)]
        return _merged(pipeline, [result for result in results if isinstance(result, TaskOutput)], [*errors, *failed])

    def _fetch(self, sources: Sequence[SourceImage]) -> tuple[list[Image], list[TaskError]]:
        with ThreadPoolExecutor(self._settings.download_threads) as pool:
            fetched = list(pool.map(self._fetch_one, sources))
        images = [item for item in fetched if isinstance(item, Image)]
        return images, [item for item in fetched if isinstance(item, TaskError)]

    def _fetch_one(self, source: SourceImage) -> Image | TaskError | None:
        try:
            return Image.from_bytes(self._downloader.fetch(source.url), id=source.id, url=source.url)
        except UnusableImageError as error:
            return TaskError(error=str(error), image_id=source.id)
        except UnreachableImageError as error:
            log.warning("left out of the answer", image_id=source.id, reason=str(error))
            return None

    def _close_when_told(self) -> None:
        self._stopping.draining.wait()
        self._http.shutdown()


class _Listener(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], service: PushServer) -> None:
        self.service = service
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = _SLOW_CLIENT_SECONDS

    def do_GET(self) -> None:
        """Say that it lives, and what it offers."""
        if self.path == "/livez":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        elif self.path == "/info":
            offers = [pipeline.offer().model_dump() for pipeline in self.server.service.pipelines.values()]
            self._answer(HTTPStatus.OK, {"pipelines": offers})
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there are /livez, /info and POST /process")

    def do_POST(self) -> None:
        """Do a batch."""
        try:
            answer = self.server.service.process(self._request())
        except RefusedRequestError as error:
            self._refuse(error.status, str(error))
        except ValidationError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, first_complaint(error))
        else:
            self._answer(HTTPStatus.OK, answer.model_dump(mode="json"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Log as the rest of this package does."""
        log.info("request", line=format % args)

    def _request(self) -> ProcessRequest:
        if self.path.rstrip("/") != "/process":
            raise RefusedRequestError(HTTPStatus.NOT_FOUND, "batches go to /process")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise RefusedRequestError(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
        if int(length) > BODY_LIMIT:
            raise RefusedRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the limit is {BODY_LIMIT} bytes")
        return ProcessRequest.model_validate_json(self.rfile.read(int(length)))

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, {"title": status.phrase, "status": status.value, "detail": reason})

    def _answer(self, status: HTTPStatus, document: Mapping[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/json" if status < HTTPStatus.BAD_REQUEST else "application/problem+json"
        )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _merged(pipeline: Pipeline, outputs: Sequence[TaskOutput], errors: Sequence[TaskError]) -> ProcessAnswer:
    return ProcessAnswer(
        pipeline=pipeline.slug,
        total_time=sum(output.total_time for output in outputs),
        source_images=[image for output in outputs for image in output.source_images],
        detections=[detection for output in outputs for detection in output.detections],
        errors=list(errors),
    )


@click.command("push-server", cls=OneLineCommand)
@click.option(
    "--pipeline",
    "references",
    multiple=True,
    required=True,
    metavar="MODULE:FUNCTION",
    help="A pipeline to serve, also as path/to/file.py:function. Give it again for more.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8100, show_default=True, help="Port; 0 picks one.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
def push_server(references: Sequence[str], host: str, port: int, *, log_json: bool) -> None:
    """Serve pipelines to sync_api jobs of a Headcount server that can reach this machine.

    It asks nobody for a token: let only the Headcount server reach it.
    """
    configure_logs(as_json=log_json)
    stopping = Stopping()
    try:
        server = PushServer(resolve_all(references), host, port, stopping)
    except StartError as error:
        raise BadInput(str(error)) from error
    click.echo(f"push service at {server.url}")
    sys.exit(run_until_signalled(server.run, stopping))


def main() -> None:
    """Run the push service as the command ``headcount-push-server``."""
    push_server(prog_name="headcount-push-server")
