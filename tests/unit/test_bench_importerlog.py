"""What is read from the log of the official importer."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from fleet_bench import importerlog

START = "2026-11-28 05:04:26,000"
BEGAN_AT = datetime.strptime(START, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007  logs are in local time
PLATES = (Path("/share/a plate - 1/Images/Index.idx.xml"), Path("/share/b/Images/Index.idx.xml"))


def line(seconds: float, text: str, logger: str = "r.transfers.UploadFileTransfer") -> str:
    """A line as logback writes it, so many seconds after the start."""
    at = datetime.fromtimestamp(BEGAN_AT + seconds).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]  # noqa: DTZ006  as above
    return f"{at} {int(seconds * 1000):<7} [2-thread-4] INFO   {logger:>30} - {text}"


LOG = "\n".join(
    [
        line(0.5, "OMERO.blitz Version: 5.5.8", ".formats.importer.ImportConfig"),
        line(2.0, "4 file(s) parsed into 2 group(s) with 2 call(s) to setId in 1358ms.", "mats.importer"),
        line(2.5, "Attempting initial SSL connection to 127.0.0.1:21448", "rmats.OMEROMetadataStoreClient"),
        line(3.0, "FILESET_UPLOAD_PREPARATION", "orter.cli.LoggingImportMonitor"),
        line(4.0, "Transferring /share/a plate - 1/Images/Index.idx.xml..."),
        line(4.1, "FILE_UPLOAD_STARTED: /share/a plate - 1/Images/Index.idx.xml"),
        line(4.5, "Transferring /share/a plate - 1/Images/r01.tiff..."),
        line(5.0, "FILE_UPLOAD_COMPLETE: /share/a plate - 1/Images/Index.idx.xml"),
        line(6.0, "Transferring /share/b/Images/Index.idx.xml..."),
        line(6.5, "FILE_UPLOAD_COMPLETE: /share/a plate - 1/Images/r01.tiff"),
        line(7.0, "FILE_UPLOAD_COMPLETE: /share/b/Images/Index.idx.xml"),
        line(9.0, "IMPORT_DONE Imported file: /share/b/Images/Index.idx.xml"),
        "Other imported objects:",
        "Fileset:12",
        "",
        "==> Summary",
        "3 files uploaded, 2 filesets, 2 plates created, 4 images imported, 0 errors in 0:00:08.500",
    ]
)


def test_the_upload_phase_is_the_sum_over_filesets_of_first_opened_to_last_saved() -> None:
    """2.5 s for the first plate and 1 s for the second, which overlap for half a second."""
    assert round(importerlog.read(LOG, PLATES, BEGAN_AT).upload_seconds, 3) == 3.5


def test_start_with_scan_and_login_are_told_apart() -> None:
    told = importerlog.read(LOG, PLATES, BEGAN_AT)
    assert (round(told.scan_seconds, 3), round(told.login_seconds, 3)) == (2.5, 0.5)


def test_the_summary_says_what_was_imported() -> None:
    told = importerlog.read(LOG, PLATES, BEGAN_AT)
    assert (told.files, told.filesets) == (3, 2)


def test_single_files_in_one_folder_are_filesets_of_their_own() -> None:
    files = (Path("/share/x/1.tif"), Path("/share/x/2.tif"))
    log = "\n".join(
        [
            line(1.0, "Transferring /share/x/1.tif..."),
            line(2.0, "FILE_UPLOAD_COMPLETE: /share/x/1.tif"),
            line(8.0, "Transferring /share/x/2.tif..."),
            line(9.0, "FILE_UPLOAD_COMPLETE: /share/x/2.tif"),
        ]
    )
    assert round(importerlog.read(log, files, BEGAN_AT).upload_seconds, 3) == 2.0


def test_a_run_with_errors_has_imported_nothing_that_counts() -> None:
    told = importerlog.read("3 files uploaded, 2 filesets, 1 errors in 0:00:01.0", PLATES, BEGAN_AT)
    assert (told.files, told.filesets, told.upload_seconds, told.login_seconds) == (0, 0, 0.0, 0.0)
