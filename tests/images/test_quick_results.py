"""The quick reading of results: what it takes means what the wire models say, and it takes what workers send."""

import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headcount.errors import BadInputError
from headcount_images import quick_results, results
from headcount_images.kinds.detection import DetectionKind
from headcount_worker.wire import TaskOutput

ALGORITHM = {"name": "moths", "key": "moths-v1"}
LABEL = {
    "classification": "Noctua pronuba",
    "scores": [0.91, 1],
    "algorithm": ALGORITHM,
    "terminal": False,
    "timestamp": "2026-01-01T02:00:00.25+02:00",
}
DETECTION = {
    "source_image_id": "17",
    "bbox": {"x1": 1, "y1": 2.5, "x2": 3, "y2": 4.5},
    "algorithm": ALGORITHM,
    "timestamp": "2026-01-01T00:00:00Z",
    "classifications": [LABEL, LABEL | {"terminal": True, "timestamp": None}],
}
OUTPUT = {
    "pipeline": "moths",
    "total_time": 0.1,
    "source_images": [{"id": "17", "url": "http://camera/17.jpg"}],
    "detections": [DETECTION, DETECTION | {"classifications": [], "timestamp": None}],
}
REQUIRED_ONLY = {
    "pipeline": "moths",
    "total_time": 0,
    "source_images": [{"id": "17"}],
    "detections": [
        {
            "source_image_id": "17",
            "bbox": {"x1": 0, "y1": 0, "x2": 0, "y2": 0},
            "algorithm": {"key": "moths-v1"},
            "classifications": [{"classification": "moth", "scores": [], "algorithm": {"key": "k"}}],
        }
    ],
}
TIMES = (
    "2026-01-01",
    "2026-01-01T00:00",
    "2026-01-01 00:00:00",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00.123456789Z",
    "2026-01-01T00:00:00." + "1" * 1000,
    "2026-01-01T00:00:60Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:00+0230",
    "2026-01-01T00:00:00-23:59",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "1767225600",
    "20260101T000000Z",
    "yesterday",
)
ODD = (
    *(None, True, False, 0, -0.0, -1, 1.5, 10**30, 10**400, 1e308, float("inf"), float("-inf"), float("nan")),
    *("", "x", "17", "1.5", "true", "a\n", "nul \x00", "\ud800", "é😀", "x" * 500, "x" * 501, "x" * 8000, "x" * 8001),
    *TIMES,
    *([], {}, [[]], [0.5, "0.5"], [True], [float("nan")], {"key": ""}, {"key": "k", "name": None}, {"id": 17}),
)
json_values = st.recursive(
    st.sampled_from(ODD) | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Yield the path of every value within a result, the result's own left out."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(path, value):
    """The output with another value at a path."""
    output = copy.deepcopy(OUTPUT)
    inner = output
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return output


def without(path):
    """The output with nothing at a path."""
    output = copy.deepcopy(OUTPUT)
    inner = output
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return output


PLACES = sorted(set(places(OUTPUT)), key=str)


def meaning(output):
    """All of a result that counts: its rows, and the images it names."""
    named = [image.id for image in output.source_images], [found.source_image_id for found in output.detections]
    return results.found(output), named


def quickly(raw):
    """What a result means to the quick reader, None where it leaves it to the wire models."""
    output = quick_results.read(raw)
    return None if output is None else meaning(output)


def slowly(raw):
    """What a result means to the wire models, None where they refuse it."""
    try:
        return meaning(TaskOutput.model_validate(raw))
    except ValidationError:
        return None


@pytest.mark.parametrize("raw", [OUTPUT, REQUIRED_ONLY], ids=["everything", "what is required"])
def test_what_workers_send_is_read_quickly(raw):
    assert quickly(json.loads(json.dumps(raw))) == slowly(raw) is not None
    assert quickly(raw | {"a field of": {"later": "versions"}}) == slowly(raw)


def test_what_the_wire_models_write_is_read_quickly():
    written = TaskOutput.model_validate(OUTPUT).model_dump(mode="json")
    assert quickly(written) == slowly(written) is not None


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_one_odd_value_anywhere_is_read_as_the_wire_models_do_or_left_to_them(path):
    odd_ones = [without(path), *[changed(path, odd) for odd in ODD]]
    assert None in map(quickly, odd_ones)
    for raw in odd_ones:
        assert quickly(raw) in (None, slowly(raw))


@pytest.mark.parametrize("time", TIMES)
def test_a_time_is_the_one_that_the_wire_models_read(time):
    try:
        read = TaskOutput.model_validate(changed(("detections", 0, "timestamp"), time)).detections[0].timestamp
    except ValidationError:
        with pytest.raises(ValidationError):
            quick_results.moment(time)
    else:
        assert quick_results.moment(time) == read


def test_no_time_longer_than_any_that_is_usual_is_remembered():
    for text, is_usual in (("2026-01-01T00:00:00.123456+00:00", True), ("2026-01-01T00:00:00." + "1" * 1000, False)):
        held = quick_results.moment.cache_info().currsize
        raw = changed(("detections", 0, "timestamp"), text)
        assert quickly(raw) == (slowly(raw) if is_usual else None)
        assert is_usual or quick_results.moment.cache_info().currsize == held


@settings(deadline=None)
@drawn(st.lists(st.tuples(st.sampled_from(PLACES), json_values), min_size=2, max_size=4))
def test_several_odd_values_are_read_as_the_wire_models_do_or_left_to_them(changes):
    raw = copy.deepcopy(OUTPUT)
    for path, value in changes:
        inner = raw
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    assert quickly(raw) in (None, slowly(raw))


@pytest.mark.parametrize(("corner", "value"), [("x2", 0.5), ("y2", 2.25), ("x1", -1), ("y1", float("nan"))], ids=str)
def test_a_box_that_is_none_is_left_to_the_wire_models_to_refuse(corner, value):
    raw = changed(("detections", 0, "bbox", corner), value)
    assert quick_results.read(raw) is None
    with pytest.raises(BadInputError, match=r"detections\.0\.bbox"):
        DetectionKind().parse(raw)


def test_what_only_the_wire_models_take_is_understood_by_the_kind_all_the_same():
    raw = changed(("detections", 0, "bbox", "x1"), "1.0")
    assert quick_results.read(raw) is None
    assert DetectionKind().parse(raw) == DetectionKind().parse(OUTPUT)


def test_rows_hold_positions_texts_and_times_as_they_were_sent():
    found = results.found(quick_results.read(OUTPUT))
    time = results.timestamp_writer()(datetime(2026, 1, 1, tzinfo=UTC))
    quarter = results.timestamp_writer()(datetime(2026, 1, 1, 0, 0, 0, 250000, tzinfo=UTC))
    assert json.loads(found.detections) == [[1, 2.5, 3, 4.5, "moths-v1", time], [1, 2.5, 3, 4.5, "moths-v1", None]]
    assert json.loads(found.classifications) == [
        [0, 0, "Noctua pronuba", [0.91, 1], "moths-v1", False, quarter],
        [0, 1, "Noctua pronuba", [0.91, 1], "moths-v1", True, None],
    ]
