"""The quick reader and writer say what the standard library's say, whatever they are given."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import quick_json

TEXT = st.text(st.characters(codec=None, exclude_categories=()))
NUMBER = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(VALUE)
def test_what_is_written_reads_as_what_it_was(value: object) -> None:
    written = quick_json.write(value)
    assert json.loads(written) == value
    assert quick_json.read(written) == value


@given(VALUE, st.booleans())
def test_what_others_write_is_read_as_they_meant_it(value: object, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert quick_json.read(written) == value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])
def test_any_encoding_that_json_ever_had_is_read(encoding: str) -> None:
    assert quick_json.read('{"label": "Möwe \U0001f41b"}'.encode(encoding)) == {"label": "Möwe \U0001f41b"}


def test_what_only_python_writes_is_read() -> None:
    assert quick_json.read(b"[Infinity, -Infinity, 1e999]") == [math.inf, -math.inf, math.inf]
    assert math.isnan(quick_json.read(b"NaN"))


@pytest.mark.parametrize("text", [b"", b"{", b"[1,]", b"{'a': 1}", b"\xff\xfe\xfd", b"nul"])
def test_what_is_no_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of the two readers complains last
        quick_json.read(text)


def test_what_is_nested_too_deep_is_told_from_what_is_no_json() -> None:
    with pytest.raises(RecursionError):
        quick_json.read(b"[" * 100_000 + b"]" * 100_000)
