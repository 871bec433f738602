"""Another client of OMERO, who also counts what the fleet has running."""

from __future__ import annotations

from typing import Final

from fleet_stack import bystander
from fleet_stack.description import OmeroDescription
from support.proof import Proof

_STARTED: Final = """
    select distinct f.id from FilesetAnnotationLink link join link.parent f join link.child a
    join f.details.creationEvent e join e.session s, FilesetJobLink l, UploadJob u
    where a.ns = 'omero-import-fleet/request' and s.closed is null
    and l.parent.id = f.id and l.child = u and u.status.value = 'Finished'
"""
_IMAGES: Final = "select i.fileset.id, count(i) from Image i where i.fileset is not null group by i.fileset.id"
_THUMBNAILS: Final = """
    select i.fileset.id, count(distinct p.id) from Thumbnail t join t.pixels p join p.image i
    where i.fileset is not null group by i.fileset.id
"""


class Bystander(bystander.Bystander):
    """Asks and logs in twice a second until it is stopped.

    Attributes:
        running: How many imports of the fleet the server had, each time.
    """

    def __init__(self, omero: OmeroDescription, proof: Proof) -> None:
        super().__init__(omero, self._count, user="alice")
        self._proof = proof
        self.running: list[int] = []

    def _count(self) -> None:
        started = {row[0] for row in self._proof.query(_STARTED)}
        thumbnails = dict(self._proof.query(_THUMBNAILS))
        images = dict(self._proof.query(_IMAGES))
        done = {one for one in started if images.get(one, 0) and thumbnails.get(one, 0) >= images[one]}
        self.running.append(len(started - done))
