"""The import request, schema version 1: the one message that producers write and workers read.

Everything here is frozen and strict, and refuses unknown fields: a worker never ignores what it was asked for. The JSON
schema ``docs/reference/import-request.schema.json`` is generated from these models, and golden files of every version
are kept in ``tests/unit/golden``. :func:`encode` and :func:`decode` are the only way to and from the wire.
"""

from __future__ import annotations

import enum
import re
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from fleet_common.errors import Permanent, Reason, RequestError, failure
from fleet_common.targets import Target, parse_target

MAX_BODY_BYTES: Final = 1024 * 1024
"""The largest request. RabbitMQ 4 refuses messages over 16 MiB, and small bodies keep a queue fast."""

REQUEST_NAMESPACE: Final = uuid.UUID("5b1e3f0c-6a43-5f0e-8f7c-2d0f5a1c9e77")
"""The uuid5 namespace of request ids. It must never change: the same plate must give the same id for ever."""

VERSION: Final = 1

_PLAIN_NAME = r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    return text


def _lines(text: str) -> str:
    # PostgreSQL refuses NUL, and terminals obey other control characters.
    if not all(line.isprintable() for line in re.split(r"\r\n|[\n\t]", text)):
        raise ValueError("must hold printable characters, tabs and line ends only")
    return text


def _share_path(text: str) -> str:
    # Only the outline; fleet_common.storage judges every component before a file is opened.
    if text.startswith("/") or "\\" in text or "\0" in text or any(part in {"", ".", ".."} for part in text.split("/")):
        raise ValueError("must be relative to its share, with / between its parts and without . or ..")
    return text


def _target_text(text: str) -> str:
    parse_target(text)
    return text


_RFC_3339 = re.compile(
    r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)


def _date_and_time(value: object) -> object:
    # Pydantic itself takes "1700000000" for seconds since 1970; the JSON schema says date-time, which is RFC 3339.
    if not isinstance(value, str):
        return value
    if not _RFC_3339.fullmatch(value):
        raise ValueError("must be a date and time like 2026-01-31T10:00:00Z")
    return datetime.fromisoformat(value)


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("must say its offset from UTC, for example 2026-01-31T10:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None


def _whole_number(value: object) -> object:
    # Literal compares by ==, so true and 1.0 would pass for 1.
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


Name = Annotated[str, StringConstraints(pattern=_PLAIN_NAME)]
"""A share, lane or format: lower-case letters, digits, ``-`` and ``_``, at most 63; safe in routing keys and labels."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_printable)]
SharePath = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_share_path)]
Moment = Annotated[datetime, BeforeValidator(_date_and_time), AfterValidator(_utc)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Priority(enum.StrEnum):
    """The three classes of a lane; a worker prefers them in this order."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class Skip(enum.StrEnum):
    """What the server need not do, with the words of ``omero import --skip``."""

    CHECKSUM = "checksum"
    THUMBNAILS = "thumbnails"
    MINMAX = "minmax"


class ChecksumAlgorithm(enum.StrEnum):
    """The algorithms that OMERO.server offers (``omero import --checksum-algorithm``)."""

    ADLER_32 = "Adler-32"
    CRC_32 = "CRC-32"
    FILE_SIZE_64 = "File-Size-64"
    MD5_128 = "MD5-128"
    MURMUR3_32 = "Murmur3-32"
    MURMUR3_128 = "Murmur3-128"
    SHA1_160 = "SHA1-160"


class Model(BaseModel):
    """Base of everything on the wire: frozen, strict, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Batch(Model):
    """Requests that were submitted together."""

    id: uuid.UUID
    name: Text


class SubmittedBy(Model):
    """Who published the request; informative, the broker's ``user_id`` is what counts."""

    host: Text
    instrument: Text | None = None
    person: Text | None = None


class Manifest(Model):
    """The files that must exist: how many, how large, and one digest over path and size of each."""

    files: Annotated[int, Field(ge=1, le=1_000_000)]
    bytes: Annotated[int, Field(ge=0)]
    digest: Digest


class Partial(Model):
    """The decision to import a plate without some of its files; OMERO shows blank planes in their place."""

    missing: Annotated[int, Field(ge=0, le=1_000_000)]
    decided_by: Text


class Source(Model):
    """Where the files are: a share, the entry file in it, and the plate format that lists the rest."""

    share: Name
    path: SharePath
    format: Name
    manifest: Manifest
    partial: Partial | None = None


class Owner(Model):
    """The OMERO user and group that the import belongs to."""

    user: Text
    group: Text


class Options(Model):
    """What the official importer's options of the same names do."""

    name: Text | None = None
    description: Annotated[str, StringConstraints(max_length=4096), AfterValidator(_lines)] | None = None
    checksum_algorithm: ChecksumAlgorithm | None = None
    skip: tuple[Skip, ...] = ()
    parallel_upload: Annotated[int, Field(ge=1, le=32)] | None = None


class ImportRequest(Model):
    """One import candidate: what becomes exactly one fileset."""

    version: Annotated[Literal[1], BeforeValidator(_whole_number)] = VERSION
    request_id: uuid.UUID
    batch: Batch
    lane: Name
    priority: Priority
    submitted_at: Moment
    submitted_by: SubmittedBy
    source: Source
    owner: Owner
    target: Annotated[str, StringConstraints(max_length=600), AfterValidator(_target_text)]
    options: Options = Options()

    @property
    def parsed_target(self) -> Target:
        """The target, taken apart."""
        return parse_target(self.target)

    @property
    def routing_key(self) -> str:
        """``<lane>.<class>``: the key under which the request is published."""
        return f"{self.lane}.{self.priority}"


def request_id_for(owner: Owner, share: str, identity: str, digest: str, *, nonce: str = "") -> uuid.UUID:
    """The id that the same files for the same owner always get, so that duplicates meet.

    Args:
        owner: User and group of the import.
        share: Name of the share.
        identity: The plate's measurement id, or entry path and content hash where the format knows none.
        digest: The manifest's digest.
        nonce: Anything that is not empty makes another id: ``submit --again``.
    """
    parts = (owner.user, owner.group, share, identity, digest, nonce)
    return uuid.uuid5(REQUEST_NAMESPACE, "".join(f"{len(part)}:{part}," for part in parts))


def encode(request: ImportRequest) -> bytes:
    """The request as it goes over the wire: JSON in UTF-8.

    Raises:
        Permanent: The body would be larger than :data:`MAX_BODY_BYTES`.
    """
    body = request.model_dump_json(exclude_none=True).encode()
    _check_size(body)
    return body


def decode(body: bytes) -> ImportRequest:
    """Read a request.

    Raises:
        Permanent: With the reason ``request-too-large``, ``unknown-version`` or ``invalid-request`` and a text
            that names the field.
        Transient: ``newer-version``: a worker that was upgraded already may know it.
    """
    _check_size(body)
    try:
        return ImportRequest.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise _refusal(body, error) from error


def json_schema() -> dict[str, Any]:
    """The JSON schema of the current version, as published in ``docs/reference``."""
    return ImportRequest.model_json_schema()


def _check_size(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise Permanent(
            Reason.REQUEST_TOO_LARGE, f"the request has {len(body):,} bytes, more than the {MAX_BODY_BYTES:,} allowed"
        )


class _Envelope(BaseModel):
    """Just enough of a body to tell a newer version from a mistake."""

    model_config = ConfigDict(strict=True)
    version: int


def _refusal(body: bytes, error: pydantic.ValidationError) -> RequestError:
    try:
        version = _Envelope.model_validate_json(body).version
    except pydantic.ValidationError:
        version = VERSION
    if version == VERSION:
        return failure(Reason.INVALID_REQUEST, explain(error))
    reason = Reason.NEWER_VERSION if version > VERSION else Reason.UNKNOWN_VERSION
    return failure(reason, f"version: {str(version)[:20]} is not known here, only {VERSION}")


_MAX_EXPLAINED, _MAX_PLACE_CHARACTERS = 5, 100


def explain(error: pydantic.ValidationError) -> str:
    """What is wrong, field by field, without echoing the values: they may be long, or secret."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"{_place(detail['loc'])}: {detail['msg']}" for detail in details[:_MAX_EXPLAINED]]
    more = len(details) - _MAX_EXPLAINED
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _place(path: tuple[int | str, ...]) -> str:
    # The name of an unknown field comes from outside: a megabyte of it, or a terminal's control characters.
    place = ".".join(map(str, path)) or "body"
    place = place if place.isprintable() else ascii(place)
    return place if len(place) <= _MAX_PLACE_CHARACTERS else f"{place[:_MAX_PLACE_CHARACTERS]}..."
