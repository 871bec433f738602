"""Bio-Formats for requests: asked about files of a share, with answers in paths of that share.

Neighbours: ``expansion`` finds with it what a folder holds, ``files`` lists with it the files of one request. Safe in
any thread, as the scanner is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath

import structlog

from fleet_common.errors import Reason, failure
from fleet_common.plates import Plate
from fleet_common.plates.container import ContainerFormat
from fleet_common.settings import ScanSettings
from fleet_common.storage import Share, open_regular
from fleet_worker.scan import Limits, Refusal, Refused, Scanned, Scanner, bioformats
from fleet_worker.scan.answers import Answer
from fleet_worker.scan.groups import plate_of

_LOG = structlog.get_logger()


def scanner_of(settings: ScanSettings) -> Scanner | None:
    """The scanner of a worker; None where it has no Bio-Formats. Nothing is started yet.

    Raises:
        UsageError: There is no jar where the settings say, no JDK, or no way to keep the child from the network.
    """
    if settings.jar is None:
        return None
    limits = Limits(answer_seconds=settings.answer_seconds, memory_mb=settings.memory_mb)
    return Scanner(bioformats(settings.jar, limits, must_be_offline=settings.network == "none"))


def ask_about(scanner: Scanner | None, share: Share, path: str, stop: Callable[[], None]) -> Answer:
    """What Bio-Formats makes of a file of a share; files of the group that are not in the share stay absolute.

    Args:
        scanner: None where this worker has none.
        share: Where the path begins.
        path: Of a regular file: it was opened here before, without following links.
        stop: Raises when the attempt must end.

    Raises:
        Permanent: ``unsupported`` without a scanner; ``not-a-regular-file``, ``file-empty``.
        Transient: ``manifest-differs`` when the file has gone.
    """
    if scanner is None:
        raise failure(
            Reason.UNSUPPORTED, "this worker has no Bio-Formats: give it bioformats_package.jar (scan.jar) and a JDK"
        )
    with open_regular(share, path):
        root = share.root.absolute()
    answer = scanner.ask(str(root / path), stop)
    if isinstance(answer, Refused):
        return answer
    return replace(answer, files=tuple(_relative(file, root) for file in answer.files))


def read_group(scanner: Scanner | None, share: Share, path: str, stop: Callable[[], None]) -> Plate:
    """The group of a file.

    Raises:
        Permanent: As :func:`ask_about`; ``unknown-format`` or ``reader-failed``; ``unsafe-path`` where the group has a
            file outside the share.
    """
    answer = ask_about(scanner, share, path, stop)
    if isinstance(answer, Scanned):
        return plate_of(path, answer)
    reason = Reason.UNKNOWN_FORMAT if answer.why is Refusal.UNKNOWN else Reason.READER_FAILED
    raise failure(reason, f"{path}: {answer.why.sentence}{f': {answer.text}' if answer.text else ''}")


def with_images(scanner: Scanner | None, share: Share, plate: Plate, stop: Callable[[], None]) -> Plate:
    """A container with the sizes of its images, which no plate format knows; any other plate as it is.

    So is one that this Bio-Formats refuses: that of the server, perhaps another version, has the last word.

    Raises:
        RequestError: As ``stop`` raises, or the file has gone.
    """
    if scanner is None or plate.format != ContainerFormat.name:
        return plate
    answer = ask_about(scanner, share, plate.entry, stop)
    if isinstance(answer, Scanned):
        return replace(plate, images=answer.sizes)
    _LOG.warning("sizes of a container are not known", file=plate.entry, why=answer.why, text=answer.text)
    return plate


def _relative(file: str, root: PurePath) -> str:
    path = PurePath(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file
