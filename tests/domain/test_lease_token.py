"""A token is its lease and nothing else; whatever was done to it, it is refused."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headcount.domain.lease_token import Lease, sign, signing_key, verify
from headcount.errors import InvalidLeaseError

KEY = signing_key("secret")
WORD, LONG = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
LEASES = st.builds(Lease, job_id=LONG, run=WORD, ordinal=LONG, attempt=WORD, sequence=LONG)
LEASE = Lease(job_id=7, run=1, ordinal=3, attempt=2, sequence=11)
EXTREMES = [Lease(0, 0, 0, 0, 0), Lease(2**64 - 1, 2**32 - 1, 2**64 - 1, 2**32 - 1, 2**64 - 1)]


def refused(token: str, key: bytes = KEY) -> bool:
    with pytest.raises(InvalidLeaseError):
        verify(token, key)
    return True


@given(LEASES)
def test_a_lease_comes_back_as_it_went(lease: Lease) -> None:
    assert verify(sign(lease, KEY), KEY) == lease


@pytest.mark.parametrize("lease", EXTREMES)
def test_the_ends_of_every_range_come_back(lease: Lease) -> None:
    assert verify(sign(lease, KEY), KEY) == lease


@given(LEASES, LEASES)
def test_two_leases_have_two_tokens(one: Lease, other: Lease) -> None:
    assume(one != other)
    assert sign(one, KEY) != sign(other, KEY)


@given(LEASES)
def test_a_token_is_safe_in_a_url_and_in_a_subject(lease: Lease) -> None:
    assert set(sign(lease, KEY)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")


@pytest.mark.parametrize("lease", [LEASE, *EXTREMES])
def test_any_flipped_bit_is_noticed(lease: Lease) -> None:
    token = sign(lease, KEY).encode()
    for position in range(len(token) * 8):
        flipped = bytearray(token)
        flipped[position // 8] ^= 1 << position % 8
        assert refused(bytes(flipped).decode("latin-1")), position


@pytest.mark.parametrize("lease", [LEASE, *EXTREMES])
def test_another_spelling_of_the_same_bytes_is_noticed(lease: Lease) -> None:
    token = sign(lease, KEY)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    for position in range(len(token)):
        for letter in alphabet:
            if letter != token[position]:
                assert refused(token[:position] + letter + token[position + 1 :])


def test_a_part_of_a_token_is_refused() -> None:
    token = sign(LEASE, KEY)
    assert all(refused(token[:length]) for length in range(len(token)))
    assert all(refused(token[length:]) for length in range(1, len(token)))


@given(st.text(min_size=1))
def test_a_token_with_something_added_is_refused(more: str) -> None:
    token = sign(LEASE, KEY)
    assert refused(token + more)
    assert refused(more + token)


@given(st.text(min_size=1, max_size=10))
def test_a_token_of_another_deployment_is_refused(secret: str) -> None:
    assume(secret != "secret")
    assert refused(sign(LEASE, signing_key(secret)))


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize("text", ["", "=", "====", "ééé", "\ud800", "\x00", "$JS.API.STREAM.PURGE.x", "A" * 66 + "=="])
def test_chosen_texts_are_refused(text: str) -> None:
    assert refused(text)


def test_the_key_is_not_the_secret() -> None:
    assert signing_key("secret") not in (b"secret", signing_key("secret "))
    assert len(signing_key("")) == 32
