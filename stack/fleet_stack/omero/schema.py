"""The SQL that makes an empty OMERO database.

A released OMERO.server brings this SQL ready made (``omero db script``). The packages here hold only its ingredients::

    templates/psql-header.vm    domains and types of units             (template, in the jar)
    schema.sql                  tables, exported by Hibernate          (data/java/GenSchema.java)
    views.sql                   counting views                         (in the jar)
    templates/psql-footer.vm    triggers, indexes, first rows          (template, in the jar, see ``footer``)

Pure functions, no I/O. Used by ``database``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

from fleet_stack.omero.footer import Tables, expand

DATABASE_VERSION: Final = "OMERO5.4"
DATABASE_PATCH: Final = "0"

# Only used in SQL, so Hibernate does not know it.
USER_IP_COLUMN: Final = "alter table session add column userIP varchar(255);\n"


def render(resource: Callable[[str], str], exported: str, password: str) -> str:
    """The whole script.

    Args:
        resource: Gives the text of a file inside the server's jar.
        exported: The tables as ``GenSchema`` wrote them.
        password: The first password of OMERO's ``root``; only its digest is in the script.
    """
    header = re.sub(r"%\(\w+\)s", "-", resource("templates/psql-header.vm")).replace("%%", "%")
    footer = expand(resource("templates/psql-footer.vm"), Tables.of(exported, _classes(resource)), _enums(resource))
    parts = [header, exported.replace(";;", ";"), USER_IP_COLUMN, resource("views.sql"), _filled(footer, password)]
    return "\n".join(parts)


def _classes(resource: Callable[[str], str]) -> list[str]:
    return re.findall(r'class="(ome\.model\.[\w.]+)"', resource("hibernate.cfg.xml"))


def _enums(resource: Callable[[str], str]) -> list[tuple[str, str]]:
    return re.findall(r"^(ome\.model\.\S+?)\.\d+:(.*)$", resource("enums.properties"), re.MULTILINE)


def _filled(footer: str, password: str) -> str:
    # The form in which OMERO's table "password" keeps passwords without a salt.
    digest = base64.b64encode(hashlib.md5(password.encode(), usedforsecurity=False).digest()).decode()
    text = footer.replace("%%", "%").replace("@ROOTPASS@", digest)
    return text.replace("@DBVERSION@", DATABASE_VERSION).replace("@DBPATCH@", DATABASE_PATCH)
