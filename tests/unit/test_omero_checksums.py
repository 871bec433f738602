"""The seven checksums have the forms that OMERO.server stores."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_common.messages import ChecksumAlgorithm
from fleet_worker.omero.checksums import hasher

# (of b"abc", of nothing), as a real server stored them
KNOWN = {
    ChecksumAlgorithm.SHA1_160: (
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ),
    ChecksumAlgorithm.MD5_128: ("900150983cd24fb0d6963f7d28e17f72", "d41d8cd98f00b204e9800998ecf8427e"),
    ChecksumAlgorithm.MURMUR3_128: ("6778ad3f3f3f96b4522dca264174a23b", "0" * 32),
    ChecksumAlgorithm.MURMUR3_32: ("fa93ddb3", "00000000"),
    ChecksumAlgorithm.CRC_32: ("c2412435", "00000000"),
    ChecksumAlgorithm.ADLER_32: ("27014d02", "01000000"),
    ChecksumAlgorithm.FILE_SIZE_64: ("0300000000000000", "0" * 16),
}


@pytest.mark.parametrize("algorithm", ChecksumAlgorithm)
def test_known_values(algorithm: ChecksumAlgorithm) -> None:
    """The server compares strings, so case and byte order matter."""
    digest = hasher(algorithm)
    empty = digest.hexdigest()
    digest.update(b"abc")
    assert (digest.hexdigest(), empty) == KNOWN[algorithm]


@given(st.sampled_from(ChecksumAlgorithm), st.lists(st.binary(max_size=100), max_size=8))
def test_pieces_do_not_matter(algorithm: ChecksumAlgorithm, pieces: list[bytes]) -> None:
    """A file is hashed chunk by chunk."""
    whole, parts = hasher(algorithm), hasher(algorithm)
    whole.update(b"".join(pieces))
    for piece in pieces:
        parts.update(piece)
    assert parts.hexdigest() == whole.hexdigest()
