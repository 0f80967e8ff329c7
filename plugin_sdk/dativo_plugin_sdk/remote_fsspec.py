"""Files by URI that obstore has no client for: SFTP, FTP, SMB, HDFS. Through fsspec, imported when the first one is met."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from .errors import AuthenticationError, ConfigurationError, DativoError, PluginError, TransientError
from .remote import RemoteFile, RemoteFiles, not_found

_CHANGED = ("mtime", "modified", "last_modified", "LastModified", "modify", "last_write_time", "created")
_REFUSED = frozenset({"AuthenticationException", "PasswordRequiredException", "BadAuthenticationType", "LogonFailure"})


class FsspecFiles(RemoteFiles):
    """The servers that a source's URIs lead to, for reading.

    connection: keyword arguments of the fsspec file system (username, password, port, key_filename, ...).
    """

    def _at(self, uri: str) -> tuple[Any, str]:
        parts = urlsplit(uri)
        if parts.password is not None:
            raise ConfigurationError(
                f"a password stands in the URI of {parts.hostname}",
                hint="write it under source.credentials: {username: ..., password: ${NAME}}",
            )
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise PluginError(f"reading {parts.scheme}:// needs fsspec", hint=_INSTALL) from error
        with self._errors(uri):
            found, path = url_to_fs(uri, **self._connection)
        return found, path

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        details: dict[str, Any] = {"file": uri}
        try:
            yield
        except DativoError:
            raise
        except FileNotFoundError as error:
            raise not_found(uri) from error
        except ImportError as error:
            raise PluginError(f"{uri}: {error}", hint=_INSTALL) from error
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{uri}: the server can't be reached so: {error}", hint="check the keys of the connection"
            ) from error
        except Exception as error:
            text = f"{uri}: {str(error).strip() or type(error).__name__}"
            if isinstance(error, PermissionError) or type(error).__name__ in _REFUSED:
                raise AuthenticationError(text, details=details, hint="check the connection's credentials") from error
            raise TransientError(text, details=details) from error

    def stat(self, uri: str) -> RemoteFile:
        files, path = self._at(uri)
        with self._errors(uri):
            files.invalidate_cache()
            return _file(uri, files.info(path))

    def find(self, pattern: str) -> list[RemoteFile]:
        files, path = self._at(pattern)
        before = pattern.rstrip("/").removesuffix(path.rstrip("/"))
        with self._errors(pattern):
            files.invalidate_cache()
            wild = re.search(r"[*?\[]", path) is not None
            found: Mapping[str, Any] = files.glob(path, detail=True) if wild else files.find(path, detail=True)
        if not found and not wild and not pattern.endswith("/"):
            raise ConfigurationError(f"file {pattern} does not exist", details={"file": pattern}, hint="check the URI")
        return [
            _file(f"{before}{name if name.startswith('/') else f'/{name}'}", info)
            for name, info in sorted(found.items())
            if info["type"] == "file"
        ]

    def read(self, uri: str, start: int, end: int, e_tag: str | None) -> bytes:
        files, path = self._at(uri)
        with self._errors(uri):
            return bytes(files.cat_file(path, start=start, end=end))


_INSTALL = "pip install 'dativo-assets[sftp]', or what fsspec needs for that kind of server"


def _file(uri: str, info: Mapping[str, Any]) -> RemoteFile:
    changed = next((info[key] for key in _CHANGED if info.get(key) is not None), 0)
    return RemoteFile(uri, int(info["size"]), _ns(changed), None)


def _ns(changed: Any) -> int:
    """A time as file systems tell it: a datetime, seconds, or an FTP server's digits."""
    if isinstance(changed, str) and re.fullmatch(r"\d{14}(\.\d+)?", changed):
        changed = datetime.strptime(changed[:14], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    if isinstance(changed, datetime):
        at = changed if changed.tzinfo is not None else changed.replace(tzinfo=timezone.utc)
        return int(at.timestamp() * 1_000_000) * 1000
    return int(float(changed) * 1_000_000) * 1000
