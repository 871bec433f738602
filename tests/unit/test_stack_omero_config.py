"""The files of OMERO.server: everything listens on 127.0.0.1, and chosen settings win over what the stack says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fleet_stack.console import StackError
from fleet_stack.layout import Ports
from fleet_stack.omero import config, icegrid
from fleet_stack.omero.folders import Folders
from fleet_stack.omero.settings import OmeroSettings

PORTS = Ports.from_base(20000)
FOLDERS = Folders(Path("/state/omero"))
GRID = icegrid.Grid(FOLDERS, Path("/state/certs"), PORTS, as_root=False)


def application(grid: icegrid.Grid = GRID) -> ET.Element:
    return ET.fromstring(icegrid.application(grid))  # noqa: S314  our own text


def properties_of(name: str) -> dict[str, str]:
    found = application().findall(f".//*[@id='{name}']/properties/property")
    return {entry.attrib["name"]: entry.attrib["value"] for entry in found}


class TestApplication:
    def test_blitz_glacier2_and_icestorm_run_and_nothing_else(self) -> None:
        node = application().findall("application/node/*")
        assert [server.attrib["id"] for server in node] == ["Blitz-0", "OMERO.Glacier2", "OMERO.IceStorm"]

    @pytest.mark.parametrize(
        ("grid", "name"),
        [(replace(GRID, indexer=True), "Indexer-0"), (replace(GRID, pixeldata=True), "PixelData-0")],
    )
    def test_background_processes_run_on_request(self, grid: icegrid.Grid, name: str) -> None:
        server = application(grid).find(f".//server[@id='{name}']")
        assert server is not None
        assert server.findtext("option") == f"@/state/omero/etc/{name}.args"

    def test_every_process_starts_by_itself_and_stays_in_its_folder(self) -> None:
        for server in application().findall("application/node/*"):
            assert (server.attrib["activation"], server.attrib["pwd"]) == ("always", "/state/omero/home")

    @pytest.mark.parametrize("as_root", [True, False])
    def test_root_says_that_it_wants_to_run_them_itself(self, as_root: bool) -> None:  # noqa: FBT001  a parameter
        servers = application(replace(GRID, as_root=as_root)).findall("application/node/*")
        assert {server.attrib.get("user") for server in servers} == {"root" if as_root else None}

    def test_every_endpoint_is_on_this_machine_only(self) -> None:
        endpoints = [e.attrib["endpoints"] for e in application().iter("adapter")]
        endpoints += properties_of("OMERO.Glacier2")["Glacier2.Client.Endpoints"].split(":")
        endpoints += [line.partition("=")[2] for line in icegrid.node_config(GRID).splitlines() if "Endpoints=" in line]
        assert len(endpoints) == 9
        assert all("-h 127.0.0.1" in endpoint for endpoint in endpoints)

    def test_clients_come_in_by_tls_and_by_the_plain_port_of_the_stack(self) -> None:
        doors = properties_of("OMERO.Glacier2")["Glacier2.Client.Endpoints"]
        assert doors == f"ssl -p {PORTS.omero_ssl} -h 127.0.0.1:tcp -p {PORTS.omero_tcp} -h 127.0.0.1"

    def test_the_router_shows_the_certificate_of_the_stack_and_asks_for_none(self) -> None:
        router = properties_of("OMERO.Glacier2")
        assert router["IceSSL.DefaultDir"] == "/state/certs"
        assert (router["IceSSL.CertFile"], router["IceSSL.KeyFile"]) == ("server.pem", "server.key")
        assert router["IceSSL.VerifyPeer"] == "0"

    def test_names_with_markup_in_them_are_escaped(self) -> None:
        odd = replace(GRID, folders=Folders(Path("/a & <b>")))
        assert application(odd).findall("application/node/server")[0].attrib["pwd"] == "/a & <b>/home"


class TestNode:
    def test_the_registry_is_where_everybody_looks_for_it(self) -> None:
        text = icegrid.node_config(GRID)
        assert f"IceGrid.Registry.Client.Endpoints=tcp -h 127.0.0.1 -p {PORTS.ice_registry}\n" in text
        assert f"Ice.Default.Locator=IceGrid/Locator:tcp -h 127.0.0.1 -p {PORTS.ice_registry}\n" in text

    def test_its_files_are_below_the_state(self) -> None:
        text = icegrid.node_config(GRID)
        assert "IceGrid.Node.Data=/state/omero/ice/node\n" in text
        assert "IceGrid.Node.Output=/state/omero/log\n" in text


class TestProperties:
    def test_the_database_and_the_repository_are_those_of_the_stack(self) -> None:
        values = config.properties(FOLDERS, PORTS, "hush", {})
        assert values["omero.db.port"] == str(PORTS.postgres)
        assert values["omero.db.pass"] == "hush"
        assert values["omero.managed.dir"] == "/state/omero/OMERO/ManagedRepository"

    def test_what_was_chosen_wins(self) -> None:
        chosen = {"omero.db.poolsize": "40", "omero.data.dir": "/big/disk"}
        values = config.properties(FOLDERS, PORTS, "hush", chosen)
        assert values["omero.db.poolsize"] == "40"
        assert values["omero.data.dir"] == "/big/disk"

    def test_a_setting_of_another_program_is_refused(self) -> None:
        with pytest.raises(StackError, match=r"'db\.poolsize' is no setting of OMERO\.server"):
            OmeroSettings({"db.poolsize": "40"})

    def test_backslashes_and_line_breaks_survive_a_properties_file(self) -> None:
        assert config.as_text({"omero.a": "x\\y", "omero.b": "1\n2"}) == "omero.a=x\\\\y\nomero.b=1\\n2\n"


class TestJavaArguments:
    SETTINGS = OmeroSettings(heap="3g", java_options=("-Xlog:gc",))

    def arguments(self, name: str) -> list[str]:
        return config.java_arguments(name, FOLDERS, self.SETTINGS, Path("/cache/omero.jar"))

    def test_heap_and_options_are_for_blitz(self) -> None:
        assert {"-Xmx3g", "-Xlog:gc"} <= set(self.arguments("Blitz-0"))
        assert not {"-Xmx3g", "-Xlog:gc"} & set(self.arguments("Indexer-0"))

    def test_the_configuration_comes_before_the_jar_on_the_class_path(self) -> None:
        assert self.arguments("Blitz-0")[-2:] == ["-cp", "/state/omero/etc:/cache/omero.jar"]

    def test_every_process_has_its_own_log(self) -> None:
        assert "-Domero.logfile=/state/omero/log/Indexer-0.log" in self.arguments("Indexer-0")

    def test_temporary_files_stay_below_the_state(self) -> None:
        assert "-Djava.io.tmpdir=/state/omero/tmp" in self.arguments("Blitz-0")

    def test_blanks_quotes_and_backslashes_survive_an_argument_file(self) -> None:
        assert config.as_argument_file(["-Da=b c", 'd"e', "f\\g"]) == '"-Da=b c"\n"d\\"e"\n"f\\\\g"\n'


class TestFolders:
    def test_making_them_twice_is_harmless_and_the_configuration_is_closed_to_others(self, tmp_path: Path) -> None:
        folders = Folders(tmp_path / "omero")
        folders.make()
        folders.make()
        assert folders.etc.stat().st_mode & 0o777 == 0o700
        assert (folders.home / "lib" / "scripts" / "omero").is_dir()
