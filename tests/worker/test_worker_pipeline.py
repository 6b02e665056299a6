import sys

import pytest
from pydantic import ValidationError

from headcount_worker import Algorithm, Detection, Image, pipeline, run_pipeline, wire
from headcount_worker.errors import StartError, UnusableImageError
from headcount_worker.resolve import resolve, resolve_all

IMAGE = Image.from_bytes(b"abc", id="image-1", url="http://images.test/1", kind="night")


def one_pipeline(function, **settings):
    return pipeline(**{"slug": "p", **settings})(function)


def result_of(function, image=IMAGE, **settings):
    (outcome,) = run_pipeline(one_pipeline(function, **settings), [image])
    assert outcome.image_id == image.id
    return outcome.result


def error_of(function, **settings):
    result = result_of(function, **settings)
    assert isinstance(result, wire.TaskError)
    return result.error


def test_ten_lines_are_a_whole_pipeline():
    @pipeline(slug="moths", name="Moth finder", version="2", algorithms=[Algorithm("boxes", "Boxes")])
    def moths(image):
        yield Detection.at(0, 1, 2, 3, label="moth", score=0.9)

    (outcome,) = run_pipeline(moths, [IMAGE])
    (found,) = outcome.result.detections
    assert outcome.result.pipeline == "moths"
    assert outcome.result.source_images == [wire.SourceImage(id="image-1", url="http://images.test/1")]
    assert found.bbox == wire.BoundingBox(x1=0, y1=1, x2=2, y2=3)
    assert (found.source_image_id, found.algorithm.key) == ("image-1", "boxes")
    assert (found.classifications[0].classification, found.classifications[0].scores) == ("moth", [0.9])
    assert found.timestamp is not None


def test_time_is_measured(clock):
    def slow(_image):
        clock.seconds += 3
        return []

    (outcome,) = run_pipeline(one_pipeline(slow), [IMAGE], clock)
    assert outcome.result.total_time == 3
    assert outcome.result.detections == []


def test_the_first_algorithm_draws_and_the_last_names():
    def find(_image):
        yield Detection.at(0, 0, 1, 1, label="moth").labelled("Noctua", [0.7, 0.3], algorithm="draw", terminal=False)
        yield Detection.at(0, 0, 1, 1, algorithm="name")

    result = result_of(find, algorithms=[Algorithm("draw"), Algorithm("name")])
    first, second = result.detections
    assert (first.algorithm.key, second.algorithm.key) == ("draw", "name")
    assert [one.algorithm.key for one in first.classifications] == ["name", "draw"]
    assert [one.terminal for one in first.classifications] == [True, False]
    assert first.classifications[1].scores == [0.7, 0.3]
    assert second.classifications == []


def test_a_pipeline_without_algorithms_has_one_named_like_itself():
    made = one_pipeline(lambda _image: [], slug="sheet", version="4")
    assert made.offer().model_dump() == {
        "name": "sheet",
        "slug": "sheet",
        "version": "4",
        "algorithms": [{"key": "sheet", "name": "sheet", "version": "4"}],
    }


def test_a_wire_detection_is_taken_as_it_is():
    ready = wire.Detection(
        source_image_id="image-1",
        bbox=wire.BoundingBox(x1=0, y1=0, x2=1, y2=1),
        algorithm=wire.AlgorithmReference(key="other"),
    )
    assert result_of(lambda _image: [ready]).detections == [ready]


def test_corners_left_of_the_image_move_to_its_edge_but_nan_is_no_corner():
    box = Detection.at(-3, -0.1, 5, 5)
    assert (box.x1, box.y1) == (0, 0)
    assert "finite" in error_of(lambda _image: [Detection.at(float("nan"), 0, 1, 1)])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda _image: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda _image: None, "TypeError: 'NoneType' object is not iterable"),
        (lambda _image: ["moth"], "TypeError: expected a Detection, got str"),
        (lambda _image: [Detection.at(5, 0, 1, 1)], "x2 must be at least x1"),
        (lambda _image: [Detection.at(0, 0, 1, 1, label="a\x00")], "NUL"),
        (lambda _image: [Detection.at(0, 0, 1, 1, algorithm="x")], "algorithm 'x' is not one of this pipeline's"),
    ],
)
def test_what_goes_wrong_in_a_pipeline_is_the_tasks_error(function, words):
    error = error_of(function)
    assert words in error
    assert "\n" not in error
    assert "Traceback" not in error


def test_a_pipeline_that_exits_does_not_take_the_worker_along():
    def leave(_image):
        raise SystemExit("bye")

    assert error_of(leave) == "SystemExit: bye"


def test_an_error_after_the_first_detection_is_an_error():
    def half(_image):
        yield Detection.at(0, 0, 1, 1)
        raise RuntimeError("no memory\nleft")

    assert error_of(half) == "RuntimeError: no memory left"


def test_a_batch_function_sees_all_images_and_answers_in_order():
    seen = []

    def find(images):
        seen.append([image.id for image in images])
        return [[Detection.at(0, 0, number + 1, 1)] for number, _ in enumerate(images)]

    images = [Image(id="a"), Image(id="b")]
    outcomes = run_pipeline(one_pipeline(find, batch=True), images)
    assert seen == [["a", "b"]]
    assert [(one.image_id, one.result.detections[0].bbox.x2) for one in outcomes] == [("a", 1), ("b", 2)]


def test_one_bad_image_does_not_take_its_batch_down():
    def find(images):
        if any(image.id == "bad" for image in images):
            raise ValueError("cannot read it")
        return [[] for _ in images]

    outcomes = run_pipeline(one_pipeline(find, batch=True), [Image(id="a"), Image(id="bad"), Image(id="c")])
    assert [type(one.result) for one in outcomes] == [wire.TaskOutput, wire.TaskError, wire.TaskOutput]
    assert outcomes[1].result.error == "ValueError: cannot read it"


def test_a_batch_function_that_miscounts_is_told_so():
    assert error_of(lambda _images: [[], []], batch=True) == "the pipeline gave 2 lists of detections for 1 images"


def test_an_unusable_name_is_refused_where_it_is_written():
    with pytest.raises(ValidationError):
        one_pipeline(lambda _image: [], slug="")


def test_a_decorated_function_can_still_be_called():
    assert one_pipeline(lambda image: [image.id])(IMAGE) == ["image-1"]


def test_an_image_gives_its_bytes_its_payload_and_a_file(tmp_path):
    assert IMAGE.content == b"abc"
    assert IMAGE.open().read() == b"abc"
    assert IMAGE.payload == {"kind": "night"}
    path = tmp_path / "moth.jpg"
    path.write_bytes(b"jpeg")
    assert (Image.from_file(path).id, Image.from_file(path).content) == ("moth.jpg", b"jpeg")


def test_an_image_without_content_says_so():
    with pytest.raises(UnusableImageError, match="names no image"):
        Image(id="x").content  # noqa: B018


SOURCE = """
from headcount_worker import Detection, pipeline

@pipeline(slug="{slug}")
def find(image):
    yield Detection.at(0, 0, 1, 1)

def plain(image):
    return []
"""


@pytest.fixture
def working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_a_pipeline_is_found_in_a_file_and_in_a_module(working_directory):
    (working_directory / "some_moths.py").write_text(SOURCE.format(slug="in-module"))
    folder = working_directory / "deep"
    folder.mkdir()
    (folder / "moths.py").write_text(SOURCE.format(slug="in-file"))
    assert resolve("some_moths:find").slug == "in-module"
    assert resolve("deep/moths.py:find").slug == "in-file"
    assert resolve(f"{folder}/moths.py:find") is resolve("deep/moths.py:find")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("no_colon", "must look like module:function"),
        (":find", "must look like"),
        ("no_such_module_here:find", "cannot import no_such_module_here: ModuleNotFoundError"),
        ("missing.py:find", "there is no file missing.py"),
        ("broken.py:find", "cannot import broken.py: ZeroDivisionError"),
        ("leaving.py:find", "cannot import leaving.py: SystemExit: 3"),
        ("good.py:plain", "decorate it with @pipeline"),
        ("good.py:fnid", "good.py has no 'fnid'; it has these pipelines: find"),
        ("..:find", "cannot import"),
    ],
)
def test_what_is_no_pipeline_is_said_in_one_line(working_directory, reference, words):
    (working_directory / "good.py").write_text(SOURCE.format(slug="p"))
    (working_directory / "broken.py").write_text("1 / 0")
    (working_directory / "leaving.py").write_text("raise SystemExit(3)")
    with pytest.raises(StartError) as caught:
        resolve(reference)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_pipelines_with_one_slug_are_refused(working_directory):
    (working_directory / "one.py").write_text(SOURCE.format(slug="same"))
    (working_directory / "two.py").write_text(SOURCE.format(slug="same"))
    with pytest.raises(StartError, match="slug 'same'"):
        resolve_all(["one.py:find", "two.py:find"])
