"""Imports of files into the tests' OMERO, step by step or whole."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from fleet_stack.description import OmeroDescription
from fleet_worker.omero.facts import ImportOutcome, ImportSpec, ServerStep, SpecFile
from fleet_worker.omero.gateway import Gateway
from fleet_worker.omero.queries import rows
from fleet_worker.omero.session import OwnerSession
from fleet_worker.omero.state import FilesetState
from fleet_worker.omero.upload import RegisteredImport

DEADLINE_SECONDS = 120.0
HARMONY_READER = "loci.formats.in.OperettaReader"


def never() -> None:
    """A ``stop`` that lets everything go on."""


def nobody(_: object) -> None:
    """Hears progress and does nothing."""


def spec_of(share: Path, files: Sequence[Path], **changes: object) -> ImportSpec:
    """What to import, with a request id of its own."""
    listed = tuple(SpecFile(f"{share.name}/{file.relative_to(share)}", file.stat().st_size) for file in files)
    values: dict[str, object] = {
        "request_id": str(uuid.uuid4()),
        "digest": "d" * 64,
        "attempt": 1,
        "source": listed[0].client_path,
        "format": "file",
        "files": listed,
    }
    return ImportSpec(**(values | changes))  # type: ignore[arg-type]  # every test names fields of the spec


def upload_all(registered: RegisteredImport, files: Sequence[Path]) -> list[str]:
    """Send every file, and give the hashes."""
    hashes = []
    for index, file in enumerate(files):
        with file.open("rb") as stream:
            hashes.append(registered.upload(index, stream, on_bytes=nobody, stop=never).hash_hex)
    return hashes


def run(
    session: OwnerSession, spec: ImportSpec, files: Sequence[Path], steps: list[ServerStep] | None = None
) -> ImportOutcome:
    """A whole import, from registration to the server's answer."""
    heard: list[ServerStep] = [] if steps is None else steps
    registered = session.register(spec)
    running = registered.start(upload_all(registered, files))
    return running.wait(deadline_seconds=DEADLINE_SECONDS, on_step=heard.append, stop=never)


def state_of(gateway: Gateway, spec: ImportSpec) -> FilesetState:
    """The only fileset of a request."""
    (found,) = gateway.find_filesets(spec.request_id)
    return found


def open_sessions(gateway: Gateway, user: str) -> set[int]:
    """The sessions of a user that nobody closed."""
    hql = "select s.id from Session s where s.closed is null and s.owner.omeName = :user"
    return {row[0] for row in rows(gateway._connected(), "a test", hql, {"user": user})}


def import_folder(session: OwnerSession, server: OmeroDescription, fileset_id: int) -> Path:
    """Where the server keeps the files of a fileset."""
    hql = "select f.id, f.templatePrefix from Fileset f where f.id = :id"
    found = rows(session._connection, "a test", hql, {"id": fileset_id})
    return repository_of(server) / str(found[0][1])


def repository_of(server: OmeroDescription) -> Path:
    """The folder of the managed repository of a stack's server."""
    return server.ca_file.parents[1] / "omero" / "OMERO" / "ManagedRepository"


def eventually(holds: Callable[[], bool], deadline_seconds: float = 60.0) -> None:
    """Ask until it holds.

    Raises:
        TimeoutError: It did not.
    """
    give_up_at = time.monotonic() + deadline_seconds
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"still not so after {deadline_seconds} s")
        threading.Event().wait(0.1)
