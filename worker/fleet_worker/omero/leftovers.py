"""Find what dead attempts left on the server that nobody asks for any more. Reads only; safe in any thread.

Ours is only what a session made that the service account opened for its owner (``Session.sudoer``; the server calls
such sessions ``OMERO.sudo``, whatever the client's agent is): what users import themselves is never touched. Filesets
carry the key annotation besides, as in `filesets`. A folder has none: it is an import's if it is named by the time of
day, as the last part of ``omero.fs.repo.path`` has it. Folders of users, months and days never look like that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import structlog

from fleet_worker.annotations import RESULT
from fleet_worker.omero.connection import Connection
from fleet_worker.omero.filesets import NAMESPACE, OWN, UNSETTLED, load_states
from fleet_worker.omero.queries import Row, Value, pages, rows
from fleet_worker.omero.serverfacts import LostFolder
from fleet_worker.omero.state import FilesetState, State, classify
from fleet_worker.omero.translate import translated
from fleet_worker.omero.vitals import server_seconds, setting

MAX_FOLDERS: Final = 1000
"""Found at once; the next sweep finds the rest."""
_STATES_AT_ONCE: Final = 500
_MS: Final = 1000.0
_TIME_OF_DAY: Final = re.compile(r"\d\d-\d\d-\d\d\.\d{3}")
TEMPLATE: Final = "omero.fs.repo.path"
_WHAT: Final = "the look-up of what dead attempts left"
_LOG = structlog.get_logger(__name__)

# Only what has no result yet is looked at closely: of a hundred thousand verified filesets no row is loaded.
_WITHOUT_RESULT = f"""
    select f.id, a.id from FilesetAnnotationLink l join l.parent f join l.child a
    join f.details.creationEvent e join e.session s
    where a.ns = :ns and s.closed is not null and s.sudoer.id = :account and {OWN} and {UNSETTLED}
"""  # noqa: S608  HQL, put together from constants only; values travel as parameters
# Ordered by a sum for the reason that `pages` has.
_FOLDERS = """
    select o.id, o.path, o.name, w.id, w.omeName, g.id, g.name, e.time from OriginalFile o
    join o.details.owner w join o.details.creationEvent e join e.session s join e.experimenterGroup g
    where o.mimetype = 'Directory' and o.repo = :repository and o.name like '__-__-__.___'
    and s.sudoer.id = :account and s.closed is not null
    and not exists (select f.id from Fileset f where f.templatePrefix = o.path || o.name || '/')
    order by o.id + 0
"""
# In both directions: a folder inside an import may be named like a time of day, too.
_IN_USE = """
    select f.id, f.templatePrefix from Fileset f
    where locate(:folder, f.templatePrefix) = 1 or locate(f.templatePrefix, :folder) = 1
"""


def unfinished(connection: Connection) -> tuple[FilesetState, ...]:
    """The fleet's filesets, lowest id first, that nobody will finish: not uploaded or half imported, session closed."""
    values: dict[str, Value] = {"ns": NAMESPACE, "result": RESULT, "account": _account(connection)}
    found = list(pages(connection, _WHAT, _WITHOUT_RESULT, values, key="f.id"))
    states = (state for part in _parts(found) for state in load_states(connection, part))
    return tuple(state for state in states if is_unfinished(state))


def is_unfinished(state: FilesetState) -> bool:
    """Whether nothing will ever become of the fileset. Pure."""
    return state.session_closed and classify(state) in {State.UPLOAD_UNFINISHED, State.BROKEN}


def lost_folders(connection: Connection, older_than_seconds: float) -> tuple[LostFolder, ...]:
    """Import folders of ours that no fileset names; ask `in_use` once more before one is deleted.

    Args:
        connection: The service account's.
        older_than_seconds: By the server's clock.

    Returns:
        At most `MAX_FOLDERS`, oldest first; nothing where the server names folders otherwise than by the time of day.
    """
    if not ends_with_time(setting(connection, TEMPLATE) or ""):
        _LOG.warning("folders are not looked at: omero.fs.repo.path does not end with %time%")
        return ()
    with translated(_WHAT):
        repository = str(connection.repository.root().hash.val)
    before = server_seconds(connection) - older_than_seconds
    values: dict[str, Value] = {"account": _account(connection), "repository": repository}
    return outermost(_folders(rows(connection, _WHAT, _FOLDERS, values, limit=MAX_FOLDERS), before))


def in_use(connection: Connection, path: str) -> bool:
    """Whether a fileset keeps files in or around the folder."""
    return bool(rows(connection, _WHAT, _IN_USE, {"folder": path}, limit=1))


def ends_with_time(template: str) -> bool:
    """Whether the last part of ``omero.fs.repo.path`` is the time of day. Pure."""
    return template.rstrip("/").rpartition("/")[2] == "%time%"


def outermost(folders: Iterable[LostFolder]) -> tuple[LostFolder, ...]:
    """Without those that lie in another one. Pure."""
    kept: list[LostFolder] = []
    for folder in sorted(folders, key=lambda one: (one.path.count("/"), one.id)):
        if not any(folder.path.startswith(outer.path) for outer in kept):
            kept.append(folder)
    return tuple(sorted(kept, key=lambda one: one.id))


def _account(connection: Connection) -> int:
    with translated(_WHAT):
        return int(connection.admin.getEventContext().userId)


def _folders(found: Iterable[Row], before_seconds: float) -> Iterator[LostFolder]:
    for folder_id, path, name, owner_id, owner, group_id, group, made_ms in found:
        if made_ms / _MS < before_seconds and _TIME_OF_DAY.fullmatch(name):
            yield LostFolder(folder_id, f"{path}{name}/", owner_id, owner, group_id, group, made_ms / _MS)


def _parts(found: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (found[start : start + _STATES_AT_ONCE] for start in range(0, len(found), _STATES_AT_ONCE))
