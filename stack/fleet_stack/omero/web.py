"""OMERO.web on 127.0.0.1, as a part of the stack.

Django's static files are served by the web server's own process (WhiteNoise), so a browser needs nothing else. It is
run by gunicorn directly: the ``omero`` command refuses to run as root. No threads here; the server outlives the command
that started it.
"""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from omero.config import ConfigXml

from fleet_stack import processes
from fleet_stack.console import StackError, run, step
from fleet_stack.layout import Layout
from fleet_stack.omero.login import HOST
from fleet_stack.parts import PartStatus
from fleet_stack.secrets import secret

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 10.0
WORKERS: Final = 2
THREADS: Final = 8

# The default list of omeroweb/settings.py does not serve static files.
WHITENOISE: Final = {"index": 0, "class": "whitenoise.middleware.WhiteNoiseMiddleware"}
MIDDLEWARE: Final = (
    "django.middleware.common.BrokenLinkEmailsMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)


def web_settings(layout: Layout, secret_key: str) -> dict[str, str]:
    """The ``omero.web.*`` settings of a stack, as OMERO.web reads them from its ``config.xml``."""
    middleware = [WHITENOISE, *({"index": i, "class": name} for i, name in enumerate(MIDDLEWARE, 1))]
    return {
        "omero.web.application_server": "wsgi-tcp",
        "omero.web.application_server.host": HOST,
        "omero.web.application_server.port": str(layout.ports.web),
        "omero.web.server_list": json.dumps([[HOST, layout.ports.omero_ssl, layout.name]]),
        "omero.web.secret_key": secret_key,
        "omero.web.session_engine": "django.contrib.sessions.backends.file",
        "omero.web.caches": json.dumps({"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}),
        "omero.web.middleware": json.dumps(middleware),
        "omero.web.check_version": "false",
    }


class WebPart:
    """OMERO.web of one stack."""

    name: Final = "web"

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._folder = layout.web
        self._identity_file = layout.web / "gunicorn.process"
        self._log = layout.web / "var" / "log" / "gunicorn.out"

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self._layout.ports.web}/"

    def install(self) -> None:
        """Check that the packages are there; they come with the project's development environment.

        Raises:
            StackError: This Python has no OMERO.web.
        """
        for name in ("omero-web", "gunicorn", "whitenoise"):
            try:
                importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                raise StackError(f"{sys.executable} has no package {name}: run `make install`") from None

    def initialise(self) -> None:
        """Write the configuration and collect the static files of the installed version."""
        for folder in ("etc/grid", "var/log", "var/sessions"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        self._configure()
        done = self._folder / f"static-{importlib.metadata.version('omero-web')}"
        if not done.exists():
            with step("collect OMERO.web's static files"):
                run([sys.executable, "-m", "django", "collectstatic", "--noinput", "--clear"], env=self._environment())
            done.touch()

    def start(self) -> None:
        """Start it unless it runs, and wait until it shows its login page.

        Raises:
            StackError: Its port is taken, or it did not come up; the text names the log.
        """
        if self._process() is None:
            if processes.accepts(self._layout.ports.web):
                raise StackError(
                    f"port {self._layout.ports.web} is taken by another program than this stack's OMERO.web"
                )
            self._launch()
        with step("start OMERO.web"):
            what = f"OMERO.web at {self.url} (see {self._log})"
            processes.wait_until(self._answers, START_SECONDS, what, self._process())

    def stop(self) -> None:
        """Stop it if it runs; browser sessions stay."""
        if self._process() is not None:
            with step("stop OMERO.web"):
                processes.end(self._process(), STOP_SECONDS)
        self._identity_file.unlink(missing_ok=True)

    def status(self) -> PartStatus:
        """Ready when it shows its login page."""
        running = self._process() is not None
        ready = running and self._answers()
        return PartStatus(self.name, running, ready, self.url if ready else "starting" if running else "not running")

    def _process(self) -> str | None:
        try:
            known = self._identity_file.read_text()
        except OSError:
            return None
        return known if processes.is_running(known) else None

    def _configure(self) -> None:
        path = self._folder / "etc" / "grid" / "config.xml"
        path.unlink(missing_ok=True)
        config: Any = ConfigXml(str(path))
        for name, value in web_settings(self._layout, secret(self._layout, "omero-web-key")).items():
            config[name] = value
        config.close()
        path.chmod(0o600)

    def _launch(self) -> None:
        server = self._folder / "gunicorn.conf.py"
        server.write_text(gunicorn_settings(self._layout, self._folder))
        command: list[str | Path] = [sys.executable, "-m", "gunicorn", "-c", server, "omeroweb.wsgi:application"]
        process = processes.detached(command, env=self._environment(), cwd=self._folder, log=self._log)
        self._identity_file.write_text(process)

    def _environment(self) -> dict[str, str]:
        # Django keeps file sessions in the folder for temporary files; omero-py's would be ~/omero/tmp.
        sessions = str(self._folder / "var" / "sessions")
        own = {"OMERODIR": str(self._folder), "TMPDIR": sessions, "OMERO_TMPDIR": sessions}
        return {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "omeroweb.settings", "LC_ALL": "C.UTF-8"}

    def _answers(self) -> bool:
        return answers(self._layout.ports.web, "/webclient/login/")


def gunicorn_settings(layout: Layout, folder: Path) -> str:
    """The text of gunicorn's configuration file.

    Threads, because a browser opens connections ahead of use, and each would keep a process without threads busy.
    """
    values: dict[str, object] = {
        "bind": f"{HOST}:{layout.ports.web}",
        "workers": WORKERS,
        "worker_class": "gthread",
        "threads": THREADS,
        "timeout": 60,
        "worker_tmp_dir": str(folder / "var"),
        "control_socket_disable": True,
    }
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def answers(port: int, path: str) -> bool:
    """Whether a page of this machine can be had with status 200 within ten seconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (http.client.HTTPException, OSError):
        return False
    finally:
        connection.close()
