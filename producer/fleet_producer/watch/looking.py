"""Looks at one plate: lists it, reads its index when something has changed, and opens its TIFFs when that is all to do.

Role: all reading from a share that a watch does of plates. Neighbours: ``tree`` lists, the plate formats parse,
``wholeness`` opens TIFFs, ``fleet_producer.completeness`` decides. Threading: one thread.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from fleet_common.errors import Reason, RequestError, failure
from fleet_common.plates import (
    FileProblem,
    Names,
    Plate,
    Reader,
    damages,
    detect,
    odd_sizes,
    problems,
)
from fleet_common.scanning import as_plate, list_folder
from fleet_common.storage import OpenFiles, Share, ShareReader, measure
from fleet_common.wholeness import judge_all, nothing
from fleet_producer.completeness import Look, Mark
from fleet_producer.watch.finding import Candidate
from fleet_producer.watch.holding import ASK, Held
from fleet_producer.watch.tree import away, entries_in, list_plate
from fleet_producer.watch.views import View, advice_of, digest_of, unreadable

MAX_KEPT_FILES: Final = 200_000
"""Of so many files at most lists are kept: about 100 MB."""
MAX_KEPT_PROBLEMS: Final = 100
FOLDER: Final = "{folder}"
"""In the name of a sentinel: the name of the plate's folder."""


@dataclass(frozen=True, slots=True)
class Glass:
    """How to look at the plates of one folder.

    Attributes:
        share: Where they are.
        temporary: Matches names of files that somebody is still writing.
        sentinel: The name of a file that must be in a plate's folder, or with ``{folder}`` in it beside that folder,
            before the plate is published; empty for none.
        check_tiffs: Whether to open TIFFs.
        same_sizes: Whether all files of a channel must have one size.
        scan: Whether a folder that no format knows is given to a worker to look into.
    """

    share: Share
    temporary: re.Pattern[str]
    sentinel: str = ""
    check_tiffs: bool = True
    same_sizes: bool = False
    scan: bool = False


class Observer:
    """Looks at plates and remembers what it read of those that have not changed since.

    Of every plate a few numbers are kept; lists of files only of some, so that memory does not grow with what waits.

    Args:
        glass: How to look.
        held: Whether another program has a file open for itself; None where nobody can tell.
        pulse: Called before each folder that is listed and each file that is opened: a plate may have 900,000.
    """

    def __init__(self, glass: Glass, held: Held | None = ASK, pulse: Callable[[], None] = nothing) -> None:
        self.glass = glass
        self._held, self._pulse = held, pulse
        self._known: dict[str, View] = {}
        self._whole: OrderedDict[str, View] = OrderedDict()

    def forget(self, candidate: Candidate) -> None:
        """Keep nothing of a plate: it is at rest, or gone."""
        self._known.pop(candidate.key, None)
        self._whole.pop(candidate.key, None)

    def look(self, candidate: Candidate) -> View:
        """List a plate; read its index anew if the listing differs from the last one.

        Returns:
            Without plate and sizes where these were not kept; see :meth:`whole`.

        Raises:
            Transient: ``share-unavailable``; ``manifest-differs`` when the plate has gone.
        """
        known = self._known.get(candidate.key)
        temporary: tuple[str, ...] = ()
        if candidate.is_file:
            view = self._read_file(candidate)
        else:
            mark, temporary = self._list(candidate)
            same = known is not None and known.look.mark == mark
            view = self._whole.get(candidate.key, known) if same and known else self._read(candidate, mark)
        if known is not None and known.look.mark == view.look.mark:
            view = replace(view, look=replace(view.look, damaged=known.look.damaged, held=known.look.held))
        look = replace(view.look, temporary=temporary, awaited=self._awaited(candidate))
        return self._keep(candidate, replace(view, look=look))

    def look_into(self, candidate: Candidate) -> View:
        """Read a plate anew and open its TIFFs.

        Storage may show an old time of a file that was written again; so the index is read a second time, and when it
        says something else than before, the look has another mark: then the plate is not quiet.

        Raises:
            Transient: As :meth:`look`.
        """
        before = self._known.get(candidate.key)
        view, temporary = self._read_anew(candidate)
        mark = view.look.mark
        if before is not None and before.digest != view.digest:
            mark = mark._replace(entry=f"{mark.entry} read anew")
        damaged = self._damages(view)
        look = replace(view.look, mark=mark, damaged=damaged, temporary=temporary, held=self._held_file(view))
        return self._keep(candidate, replace(view, look=replace(look, awaited=self._awaited(candidate))))

    def whole(self, candidate: Candidate, view: View) -> View:
        """The same view with plate and sizes, read anew where these were not kept.

        Raises:
            Transient: As :meth:`look`; ``manifest-differs`` also when it says something else by now.
        """
        if view.plate is not None or view.look.unreadable:
            return view
        again, _ = self._read_anew(candidate)
        if again.digest != view.digest:
            raise failure(Reason.MANIFEST_DIFFERS, f"{candidate.key} has changed while it was looked at")
        return self._keep(candidate, replace(again, look=view.look))

    def _keep(self, candidate: Candidate, view: View) -> View:
        self._known[candidate.key] = View(view.look, digest=view.digest)
        if view.plate is not None:
            self._whole[candidate.key] = view
            self._whole.move_to_end(candidate.key)
        while len(self._whole) > 1 and sum(one.look.listed for one in self._whole.values()) > MAX_KEPT_FILES:
            self._whole.popitem(last=False)
        return view

    def _read_anew(self, candidate: Candidate) -> tuple[View, tuple[str, ...]]:
        if candidate.is_file:
            return self._read_file(candidate), ()
        mark, temporary = self._list(candidate)
        return self._read(candidate, mark), temporary

    def _list(self, candidate: Candidate) -> tuple[Mark, tuple[str, ...]]:
        listing = list_plate(self.glass.share, candidate.path, self.glass.temporary, self._pulse)
        return listing.mark(), tuple(listing.temporary)

    def _read_file(self, candidate: Candidate) -> View:
        """Read a single file, which may have others beside it: what it has is known only when it is read."""
        try:
            status = (self.glass.share.root / candidate.path).lstat()
        except OSError as error:
            raise away(self.glass.share, str(candidate.path), error) from error
        view = self._read(candidate, Mark())
        sizes = view.sizes.values()
        names = zlib.crc32("\n".join(sorted(view.sizes)).encode("utf-8", "surrogateescape"))
        mark = Mark(len(sizes), sum(sizes), status.st_mtime_ns, names, str(status.st_size))
        return replace(view, look=replace(view.look, mark=mark))

    def _read(self, candidate: Candidate, mark: Mark) -> View:
        try:
            plate = self._plate(candidate)
            sizes = measure(self.glass.share, plate.files)
        except RequestError as error:
            if error.reason is Reason.SHARE_UNAVAILABLE:
                raise
            return View(Look(mark, unreadable=unreadable(error), advice=advice_of(error)))
        absent = problems(plate, sizes)
        look = Look(
            mark=mark,
            listed=len(plate.files),
            absent=absent[:MAX_KEPT_PROBLEMS],
            absent_more=max(0, len(absent) - MAX_KEPT_PROBLEMS),
            end=plate.end,
            errors=len(plate.errors),
        )
        return View(look, plate, sizes, digest_of(plate, sizes))

    def _plate(self, candidate: Candidate) -> Plate:
        with ShareReader(self.glass.share) as reader:
            remembering: Reader = _Remembering(reader)
            try:
                found, entry = detect(candidate.path, remembering)
            except RequestError as error:
                if error.reason is not Reason.UNKNOWN_FORMAT or not self.glass.scan:
                    raise
                return as_plate(str(candidate.path), list_folder(self.glass.share, str(candidate.path)))
            return found.read(entry, reader)

    def _awaited(self, candidate: Candidate) -> str:
        """The sentinel that is not there yet."""
        if not self.glass.sentinel or candidate.is_file:
            return ""
        beside = FOLDER in self.glass.sentinel
        name = self.glass.sentinel.replace(FOLDER, candidate.path.name)
        folder = candidate.path.parent if beside else candidate.path
        with OpenFiles(self.glass.share) as files:
            return "" if any(entry.name == name for entry in entries_in(files, folder.parts)) else name

    def _damages(self, view: View) -> tuple[FileProblem, ...] | None:
        if view.plate is None or view.look.absent:
            return None
        odd = odd_sizes(view.plate, view.sizes) if self.glass.same_sizes else ()
        if not self.glass.check_tiffs:
            return odd
        return (*odd, *damages(view.plate, judge_all(self.glass.share, view.sizes, self._pulse)))

    def _held_file(self, view: View) -> str:
        """The file that the instrument wrote last is the one that it may still have open; so may be the index."""
        if view.plate is None or self._held is None:
            return ""
        ends = dict.fromkeys((view.plate.entry, self._newest(view.plate.files)))
        root = self.glass.share.root
        return next((path for path in ends if self._held(root / PurePosixPath(path))), "")

    def _newest(self, paths: Iterable[str]) -> str:
        """The one that was written last; of several with one time the last one."""
        return max(enumerate(paths), key=lambda one: (self._written_ns(one[1]), one[0]))[1]

    def _written_ns(self, path: str) -> int:
        self._pulse()
        try:
            return (self.glass.share.root / PurePosixPath(path)).lstat().st_mtime_ns
        except OSError:
            # The next listing will see what became of it.
            return 0


class _Remembering:
    """Lists each folder once while formats are asked in turn: a folder may hold 25,000 names."""

    def __init__(self, reader: ShareReader) -> None:
        self._reader = reader
        self.open = reader.open
        self._names: dict[PurePosixPath, Names] = {}
        self._folders: dict[PurePosixPath, bool] = {}

    def names(self, folder: PurePosixPath) -> Names:
        """See :class:`Reader`."""
        if folder not in self._names:
            self._names[folder] = self._reader.names(folder)
        return self._names[folder]

    def is_folder(self, path: PurePosixPath) -> bool:
        """See :class:`Reader`."""
        if path not in self._folders:
            self._folders[path] = self._reader.is_folder(path)
        return self._folders[path]
