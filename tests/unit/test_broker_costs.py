"""What a request costs its lane, read from a body that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.broker.costs import CAP_BYTES, FLOOR_BYTES, cost_of
from fleet_common.messages import MAX_BODY_BYTES, Manifest, decode, encode
from support.builders import DIGEST, a_request, a_source


def body_of(manifest_bytes: int) -> bytes:
    """A request for files of so many bytes."""
    return encode(a_request(source=a_source(manifest=Manifest(files=1, bytes=manifest_bytes, digest=DIGEST))))


def saying(said: Any) -> bytes:
    """A body that says anything where the bytes should be."""
    return json.dumps({"source": {"manifest": {"bytes": said}}}).encode()


@pytest.mark.parametrize(
    ("manifest_bytes", "cost"),
    [
        (0, FLOOR_BYTES),
        (FLOOR_BYTES, FLOOR_BYTES),
        (FLOOR_BYTES + 1, FLOOR_BYTES + 1),
        (10**10, 10**10),
        (CAP_BYTES, CAP_BYTES),
        (CAP_BYTES + 1, CAP_BYTES),
        (2**63, CAP_BYTES),
    ],
)
def test_a_request_costs_its_bytes_within_bounds(manifest_bytes: int, cost: int) -> None:
    """An empty file is work, too, and a lie of exabytes must not bind its lane for ever."""
    assert cost_of(body_of(manifest_bytes)) == cost


@pytest.mark.parametrize("said", [-1, 1e12, "1000000000000", True, None, [], {"bytes": 10**12}, [10**12]])
def test_what_a_worker_would_refuse_costs_the_least(said: Any) -> None:
    """It is refused within milliseconds."""
    assert cost_of(saying(said)) == FLOOR_BYTES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"no json {",
        b"\xff\xfe",
        b'{"source": 1}',
        b'{"source": {"manifest": []}}',
        b'{"source": {"manifest": {"bytes": 1e999}}}',
        b'{"source": {"manifest": {"bytes": NaN}}}',
        b'{"source": {"manifest": {"bytes": ' + b"9" * 100_000 + b"}}}",
        b'{"source": ' * 50_000,
        b"[" * MAX_BODY_BYTES,
    ],
    ids=lambda body: f"{body[:40]!r} {len(body)}",
)
def test_a_hostile_body_costs_the_least_and_raises_nothing(body: bytes) -> None:
    """An error here would lose the delivery that the worker has just taken."""
    assert cost_of(body) == FLOOR_BYTES


def test_a_body_that_is_too_large_is_not_even_read() -> None:
    """The worker refuses it by its size."""
    body = body_of(CAP_BYTES)
    assert cost_of(body + b" " * (MAX_BODY_BYTES - len(body))) == CAP_BYTES
    assert cost_of(body + b" " * (MAX_BODY_BYTES - len(body) + 1)) == FLOOR_BYTES


def test_a_key_that_is_there_twice_costs_what_the_worker_will_read() -> None:
    """Given a body that says two numbers, then the price is for the one that is imported."""
    manifest = f'{{"files":1,"digest":"{DIGEST}","bytes":1,"bytes":{CAP_BYTES}}}'
    body = encode(a_request(source=a_source(manifest=Manifest(files=1, bytes=5, digest=DIGEST))))
    twice = body.replace(f'{{"files":1,"bytes":5,"digest":"{DIGEST}"}}'.encode(), manifest.encode())
    assert twice != body
    assert cost_of(twice) == decode(twice).source.manifest.bytes == CAP_BYTES


@given(st.integers(0, 2**62))
def test_a_request_that_is_read_costs_what_it_says(manifest_bytes: int) -> None:
    """For every manifest: the worker's own reading, bounded."""
    body = body_of(manifest_bytes)
    assert cost_of(body) == min(max(decode(body).source.manifest.bytes, FLOOR_BYTES), CAP_BYTES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["source", "manifest", "bytes", "x"]), inner),
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()) | json_values.map(saying))
def test_no_body_makes_it_fail(body: bytes) -> None:
    """Whatever comes, there is a price within bounds."""
    assert FLOOR_BYTES <= cost_of(body) <= CAP_BYTES
