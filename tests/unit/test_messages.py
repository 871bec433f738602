"""Import requests on the wire: what is read and written, and how anything else is refused."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_common.errors import Permanent, Reason, RequestError, Transient
from fleet_common.messages import (
    MAX_BODY_BYTES,
    Batch,
    ChecksumAlgorithm,
    ImportRequest,
    Manifest,
    Options,
    Owner,
    Priority,
    Skip,
    Source,
    SubmittedBy,
    decode,
    encode,
    json_schema,
    request_id_for,
)
from support.builders import a_request, a_source

GOLDEN = sorted((Path(__file__).parent / "golden").glob("import-request-v1-*.json"))
FULL = Path(__file__).parent / "golden" / "import-request-v1-full.json"
PARTIAL = FULL.with_name("import-request-v1-partial.json")
MISSING = object()

# --- the identity -------------------------------------------------------------------------------------------------

PRINTABLE = st.characters(exclude_categories=("C", "Z"), include_characters=" ")
TEXTS = st.text(PRINTABLE, min_size=1, max_size=40)
NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9_-]{0,10}[a-z0-9])?", fullmatch=True)
COMPONENTS = st.text(PRINTABLE, min_size=1, max_size=12).filter(
    lambda part: part not in {".", ".."} and not set(part) & {"/", "\\"}
)
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS)  # noqa: DTZ001  zone is drawn
TARGETS = st.builds(
    "{}:{}".format,
    st.sampled_from(["Dataset:name", "Dataset:+name", "Screen:-name", "Screen:%name", "Screen:@name"]),
    TEXTS.filter(str.strip),
) | st.integers(1, 10**9).map("Dataset:id:{}".format)
MANIFESTS = st.builds(
    Manifest,
    files=st.integers(1, 1_000_000),
    bytes=st.integers(0, 2**60),
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
)
OPTIONS = st.builds(
    Options,
    name=st.none() | TEXTS,
    description=st.none() | st.text(PRINTABLE | st.sampled_from("\n\t"), max_size=60),
    checksum_algorithm=st.none() | st.sampled_from(ChecksumAlgorithm),
    skip=st.lists(st.sampled_from(Skip), max_size=3).map(tuple),
    parallel_upload=st.none() | st.integers(1, 32),
)
REQUESTS = st.builds(
    ImportRequest,
    request_id=st.uuids(),
    batch=st.builds(Batch, id=st.uuids(), name=TEXTS),
    lane=NAMES,
    priority=st.sampled_from(Priority),
    submitted_at=MOMENTS,
    submitted_by=st.builds(SubmittedBy, host=TEXTS, instrument=st.none() | TEXTS, person=st.none() | TEXTS),
    source=st.builds(Source, share=NAMES, path=PATHS, format=NAMES, manifest=MANIFESTS),
    owner=st.builds(Owner, user=TEXTS, group=TEXTS),
    target=TARGETS,
    options=OPTIONS,
)


@settings(deadline=None)
@given(REQUESTS)
def test_what_is_written_is_read_again(request: ImportRequest) -> None:
    """Every valid request survives the wire unchanged."""
    assert decode(encode(request)) == request


@settings(deadline=None)
@given(REQUESTS)
def test_what_is_written_fits_the_published_schema(request: ImportRequest) -> None:
    """Producers in other languages may rely on the JSON schema."""
    jsonschema.validate(json.loads(encode(request)), json_schema())


# --- golden files -------------------------------------------------------------------------------------------------


def test_all_golden_files_are_there() -> None:
    """They are kept for ever: the tests below must not pass because somebody moved them."""
    names = [path.name.removeprefix("import-request-v1-") for path in GOLDEN]
    assert names == ["full.json", "minimal.json", "partial.json"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_request_is_read_and_written_as_it_always_was(path: Path) -> None:
    """Requests of version 1 lie in queues and dead letters for months."""
    assert json.loads(encode(decode(path.read_bytes()))) == json.loads(path.read_text(encoding="utf-8"))


def test_the_golden_requests_set_every_field() -> None:
    """A field that is added to the schema must be added to a golden file, too."""
    dumps = [decode(path.read_bytes()).model_dump() for path in (FULL, PARTIAL)]
    left_out = [{name for name, value in _leaves(dump) if value is None} for dump in dumps]
    assert left_out == [{"source.partial"}, set()]


def test_a_golden_request_means_what_it_meant() -> None:
    """Reading back alone would not notice two fields that were exchanged."""
    request = decode(FULL.read_bytes())
    assert request.request_id == uuid.UUID("5f1c0f3e-0f7b-5a77-8a4c-5c1b9b1f0a42")
    assert request.submitted_at == datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
    assert request.routing_key == "cv8000_left-2.urgent"
    assert request.source.manifest.files == 100_000
    assert (request.owner.user, request.owner.group) == ("alice", "private-lab")
    assert request.parsed_target.container.value == "Kinase screen 7/8, répété"
    assert request.options.skip == (Skip.CHECKSUM, Skip.THUMBNAILS, Skip.MINMAX)


def _leaves(tree: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        found += _leaves(value, f"{above}{name}.") if isinstance(value, dict) else [(f"{above}{name}", value)]
    return found


# --- the request id -----------------------------------------------------------------------------------------------


PARTS = ("alice", "screening", "hcs", "measurement", "0" * 64, "")


def _id_of(parts: tuple[str, ...]) -> uuid.UUID:
    user, group, share, identity, digest, nonce = parts
    return request_id_for(Owner(user=user, group=group), share, identity, digest, nonce=nonce)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("alice", "screening", "hcs", "2e3f-measurement", "0" * 64, ""), "bdb352aa-b242-5d47-b732-cdb7f950a748"),
        (
            ("alice", "screening", "hcs", "phenix1/cell.tif " + "f" * 64, "ab" * 32, ""),
            "24c56254-c31f-5148-b130-25e8d8d3f6e7",
        ),
        (("alice", "private-lab", "hcs", "2e3f-measurement", "0" * 64, ""), "32860d67-f7ea-5922-85ea-8e5b5754bde9"),
        (("müller", "screening", "archive-2", "Plätte 1", "0" * 64, "again-1"), "bf31b22b-4f02-5918-a736-78d14fbc2540"),
    ],
    ids=["plate", "single file", "another group", "umlauts and --again"],
)
def test_the_same_plate_has_the_same_id_for_ever(parts: tuple[str, ...], expected: str) -> None:
    """These literals may never change: by them duplicates meet, years later."""
    assert _id_of(parts) == uuid.UUID(expected)


@pytest.mark.parametrize("changed", range(6), ids=["user", "group", "share", "identity", "digest", "nonce"])
def test_each_part_changes_the_id(changed: int) -> None:
    """Other files, another owner or --again is another request."""
    other = tuple(f"{part}x" if place == changed else part for place, part in enumerate(PARTS))
    assert _id_of(other) != _id_of(PARTS)


def test_parts_do_not_run_together() -> None:
    """The text "ab" + "c" is another request than "a" + "bc"."""
    assert _id_of(("ab", "c", *PARTS[2:])) != _id_of(("a", "bc", *PARTS[2:]))


# --- what is refused, field by field ------------------------------------------------------------------------------

WRONG: list[tuple[str, Any]] = [
    ("request_id", "not-a-uuid"),
    ("request_id", 7),
    ("request_id", None),
    ("batch", "tuesday"),
    ("batch.id", "7"),
    ("batch.name", ""),
    ("batch.name", "two\nlines"),
    ("batch.name", "x" * 256),
    ("lane", ""),
    ("lane", "Phenix"),
    ("lane", "a.b"),
    ("lane", "-a"),
    ("lane", "a\n"),
    ("lane", "x" * 64),
    ("lane", 1),
    ("priority", "high"),
    ("priority", 1),
    ("submitted_at", "yesterday"),
    ("submitted_at", "2026-01-31"),
    ("submitted_at", "2026-01-31T10:00:00"),
    ("submitted_at", "2026-01-31 10:00:00Z"),
    ("submitted_at", "2026-02-30T10:00:00Z"),
    ("submitted_at", "1700000000"),
    ("submitted_at", 1700000000),
    ("submitted_at", "0001-01-01T00:00:00+14:00"),
    ("submitted_at", "9999-12-31T23:59:59-14:00"),
    ("submitted_by.host", "a\u0000b"),
    ("submitted_by.host", "\u202ereversed"),
    ("submitted_by.instrument", 8),
    ("submitted_by.person", ""),
    ("source.share", "UPPER"),
    ("source.path", ""),
    ("source.path", "/absolute"),
    ("source.path", "a/../b"),
    ("source.path", "a/./b"),
    ("source.path", "a//b"),
    ("source.path", "a/"),
    ("source.path", "a\\b"),
    ("source.path", "a\u0000b"),
    ("source.path", "x" * 4097),
    ("source.format", "Harmony"),
    ("source.manifest", []),
    ("source.manifest.files", 0),
    ("source.manifest.files", 1_000_001),
    ("source.manifest.files", "1"),
    ("source.manifest.files", 1.5),
    ("source.manifest.files", True),
    ("source.manifest.bytes", -1),
    ("source.manifest.bytes", "5"),
    ("source.manifest.digest", "AB" * 32),
    ("source.manifest.digest", "ab" * 31),
    ("source.manifest.digest", "ab" * 32 + "\n"),
    ("source.partial", True),
    ("source.partial.missing", -1),
    ("source.partial.missing", "9"),
    ("source.partial.decided_by", ""),
    ("owner.user", ""),
    ("owner.user", "tab\tbed"),
    ("owner.group", None),
    ("target", "nowhere"),
    ("target", "Dataset:id:0"),
    ("target", "Project:name:P"),
    ("target", "Screen:+name:" + "x" * 600),
    ("options.name", ""),
    ("options.name", "x" * 256),
    ("options.description", "x" * 4097),
    ("options.description", "NUL \u0000"),
    ("options.description", "escape \u001b[31m"),
    ("options.checksum_algorithm", "SHA-256"),
    ("options.checksum_algorithm", "md5"),
    ("options.skip", "checksum"),
    ("options.skip.0", "all"),
    ("options.parallel_upload", 0),
    ("options.parallel_upload", 33),
    ("options.parallel_upload", True),
    ("options.parallel_upload", "4"),
]
REQUIRED = [
    "request_id",
    "batch",
    "batch.id",
    "batch.name",
    "lane",
    "priority",
    "submitted_at",
    "submitted_by",
    "submitted_by.host",
    "source",
    "source.share",
    "source.path",
    "source.format",
    "source.manifest",
    "source.manifest.files",
    "source.manifest.bytes",
    "source.manifest.digest",
    "source.partial.missing",
    "source.partial.decided_by",
    "owner",
    "owner.user",
    "owner.group",
    "target",
]
UNKNOWN = [
    "nice",
    "batch.nice",
    "submitted_by.nice",
    "source.nice",
    "source.manifest.nice",
    "source.partial.nice",
    "owner.nice",
    "options.nice",
]


def _body(field: str, value: Any) -> bytes:
    """The golden request with every field, with one of them replaced, added or left out."""
    body = json.loads(PARTIAL.read_text(encoding="utf-8"))
    *above, last = field.split(".")
    place: Any = body
    for name in above:
        place = place[name]
    if value is MISSING:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return json.dumps(body).encode()


def _refused(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode(body)
    return caught.value


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda one: repr(one)[:30])
def test_a_wrong_value_is_refused_by_the_name_of_its_field(field: str, value: Any) -> None:
    """The error names the field, and nothing else is found wrong."""
    error = _refused(_body(field, value))
    assert isinstance(error, Permanent)
    assert error.reason is Reason.INVALID_REQUEST
    assert str(error).startswith(f"{field}: ")
    assert "; " not in str(error)


def test_every_field_has_a_wrong_value_here() -> None:
    """A new field needs a row in the table above."""
    named = {field.removesuffix(".0") for field, _ in WRONG}
    leaves = {name for name, _ in _leaves(decode(PARTIAL.read_bytes()).model_dump())}
    assert leaves - named == {"version"}


@pytest.mark.parametrize("field", REQUIRED)
def test_a_field_that_is_left_out_is_named(field: str) -> None:
    """Nothing that a worker needs has a silent default."""
    assert str(_refused(_body(field, MISSING))).startswith(f"{field}: Field required")


@pytest.mark.parametrize("field", UNKNOWN)
def test_an_unknown_field_is_refused(field: str) -> None:
    """A worker never ignores what it was asked for."""
    error = _refused(_body(field, 1))
    assert (error.reason, str(error)) == (Reason.INVALID_REQUEST, f"{field}: Extra inputs are not permitted")


def test_a_value_is_not_repeated_in_the_error() -> None:
    """It may be a megabyte, or a secret that was put into the wrong field."""
    assert "hunter2" not in str(_refused(_body("lane", "hunter2 is the password")))


def test_the_name_of_an_unknown_field_cannot_flood_the_log() -> None:
    """Errors go into logs, events and headers."""
    assert len(str(_refused(_body("x" * 100_000, 1)))) < 300


def test_the_name_of_an_unknown_field_cannot_reach_a_terminal() -> None:
    """An escape sequence in it is shown, not obeyed."""
    assert str(_refused(_body("\x1b[2J", 1))).isprintable()


def test_many_wrong_fields_are_counted() -> None:
    """Five are explained, the rest is a number."""
    error = _refused(b"{}")
    assert str(error).count("Field required") == 5
    assert str(error).endswith("; and 4 more")


# --- bodies that are no request at all -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b'"text"',
        b"{",
        b"{}",
        b"[" * 500_000,
        b'{"a":' * 150_000,
        b'{"version": 1, "lane": "\\ud800"}',
        b'{"version": ' + b"9" * 5000 + b"}",
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    """Whatever comes, the answer is an error of ours."""
    error = _refused(body)
    assert isinstance(error, Permanent)
    assert error.reason is Reason.INVALID_REQUEST
    assert len(str(error)) < 1000


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_the_reader(body: bytes) -> None:
    """A body comes from outside: every one is a request or an error of ours."""
    with pytest.raises(RequestError):
        decode(body)


def test_a_body_of_2_mib_is_refused_unread() -> None:
    """It names both sizes."""
    error = _refused(b" " * (2 * 1024 * 1024))
    assert isinstance(error, Permanent)
    assert error.reason is Reason.REQUEST_TOO_LARGE
    assert "2,097,152 bytes" in str(error)
    assert "1,048,576" in str(error)


def test_a_body_may_be_as_large_as_the_limit() -> None:
    """One byte more is too much."""
    body = FULL.read_bytes()
    assert decode(body.ljust(MAX_BODY_BYTES)) == decode(body)
    assert _refused(body.ljust(MAX_BODY_BYTES + 1)).reason is Reason.REQUEST_TOO_LARGE


def test_a_request_that_is_too_large_is_not_written() -> None:
    """The producer hears it, not the worker."""
    request = a_request(options=Options(skip=(Skip.CHECKSUM,) * 100_000))
    with pytest.raises(Permanent, match="more than the 1,048,576 allowed") as caught:
        encode(request)
    assert caught.value.reason is Reason.REQUEST_TOO_LARGE


# --- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 3, 10**30])
def test_a_newer_version_waits_for_a_newer_worker(version: int) -> None:
    """During a rolling upgrade somebody else may know it, whatever its fields are."""
    error = _refused(json.dumps({"version": version, "news": True}).encode())
    assert isinstance(error, Transient)
    assert error.reason is Reason.NEWER_VERSION
    assert str(error).startswith("version: ")
    assert len(str(error)) < 100


@pytest.mark.parametrize("version", [0, -1])
def test_a_version_that_never_was_is_refused(version: int) -> None:
    """No worker will ever know it."""
    error = _refused(_body("version", version))
    assert (type(error), error.reason) == (Permanent, Reason.UNKNOWN_VERSION)


@pytest.mark.parametrize("version", ["1", 1.0, True, None, [1]])
def test_a_version_that_is_no_number_is_an_invalid_request(version: Any) -> None:
    """True and 1.0 equal 1 in Python and are not 1 on the wire."""
    error = _refused(_body("version", version))
    assert error.reason is Reason.INVALID_REQUEST
    assert str(error).startswith("version: ")


# --- models -------------------------------------------------------------------------------------------------------


def test_a_request_cannot_be_changed() -> None:
    """What was decided about it stays true."""
    request = a_request()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(request, "lane", "other")  # noqa: B010  the type checker refuses the plain form already


def test_a_moment_is_kept_in_utc() -> None:
    """Two producers in two time zones write the same time the same way."""
    summer = datetime(2026, 7, 1, 12, 0, tzinfo=timezone(timedelta(hours=2)))
    assert a_request(submitted_at=summer).submitted_at == datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert b'"submitted_at":"2026-07-01T10:00:00Z"' in encode(a_request(submitted_at=summer))


def test_the_key_is_lane_and_class() -> None:
    """Topic permissions keep a producer in its own lane by this key."""
    assert a_request(lane="cv8000", priority=Priority.BULK).routing_key == "cv8000.bulk"


def test_a_umlaut_and_a_colon_are_fine_in_a_path() -> None:
    """The outline of a path says nothing of names; storage judges those."""
    assert decode(encode(a_request(source=a_source(path="Zellen/Größe 1:2.tif")))).source.path == "Zellen/Größe 1:2.tif"
