"""Shares, safe opening, listing and manifests: everything that touches the files of a request.

========================  =======================================================================================
:mod:`paths`              one check and one join for every relative path
:mod:`shares`             share names and where they are mounted here
:mod:`descriptors`        how this operating system opens without following links
:mod:`opening`            open regular files, checked on the open descriptor
:mod:`listing`            list a tree in one pass, measure the files of a manifest
:mod:`manifests`          count, bytes and digest
:mod:`reading`            what plate formats read through
:mod:`tiffs`              whether a TIFF is whole, without its pixels, and of which type
:mod:`pixeltypes`         what types of pixels are called
========================  =======================================================================================
"""

from fleet_common.storage.listing import MAX_FILES, Listing, list_tree, measure
from fleet_common.storage.manifests import ManifestEntry, ManifestSummary, digest, entries_of, summarise
from fleet_common.storage.opening import OpenFiles, open_regular
from fleet_common.storage.paths import check_relative, join
from fleet_common.storage.reading import ShareReader
from fleet_common.storage.shares import Share, Shares
from fleet_common.storage.tiffs import Judgement, Wholeness, judge, looks_like_tiff

__all__ = [
    "MAX_FILES",
    "Judgement",
    "Listing",
    "ManifestEntry",
    "ManifestSummary",
    "OpenFiles",
    "Share",
    "ShareReader",
    "Shares",
    "Wholeness",
    "check_relative",
    "digest",
    "entries_of",
    "join",
    "judge",
    "list_tree",
    "looks_like_tiff",
    "measure",
    "open_regular",
    "summarise",
]
