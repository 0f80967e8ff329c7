"""Files that are elsewhere, by URI: s3://, gs://, az:// and abfs://, http:// and https://. Through obstore, which brings
the object_store library's clients, retries and credentials; it is imported when the first URI is met.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from .errors import (
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    DativoError,
    PluginError,
    RateLimitError,
    TransientError,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

BLOCK_BYTES = 8 << 20
"""Bytes of one range request; as many are read ahead."""

_URI = re.compile(r"^(s3|s3a|gs|az|azure|abfs|abfss|http|https|sftp|ssh|ftp|smb|hdfs|webhdfs|memory)://", re.IGNORECASE)
_FSSPEC = re.compile(r"^(sftp|ssh|ftp|smb|hdfs|webhdfs|memory)://", re.IGNORECASE)
_MAX_RETRIES = 5
_THROTTLED = re.compile(r"status code: (429|503)\b")
_ASKED_AGAIN_TIMEOUT_S = 10.0
_KEPT = "/!$&'()*+,;=:@~-._ "
"""Characters of a path that stand for themselves in a URI."""


def is_remote(path: str) -> bool:
    """Whether a path is a URI of a file that is elsewhere."""
    return _URI.match(path) is not None


def is_listed_by_fsspec(path: str) -> bool:
    """Whether it is one that `remote_fsspec` reads, obstore having no client for it."""
    return _FSSPEC.match(path) is not None


def _is_web(uri: str) -> bool:
    return uri.lower().startswith("http")


def shown(uri: str) -> str:
    """A URI without its query, which may hold a signature."""
    return uri.partition("?")[0]


def quoted(path: str) -> str:
    """A path in a store as it is in a URI."""
    return quote(path, safe=_KEPT)


@dataclass(frozen=True)
class RemoteFile:
    """A file as its store tells it. e_tag: changes with the content, None where the store has none."""

    uri: str
    size_bytes: int
    modified_ns: int
    e_tag: str | None


class RemoteFiles:
    """The stores that a source's URIs lead to, with its connection and credentials.

    connection: keys of the store's client as object_store names them (endpoint, region, access_key_id, ...); `headers`
    are sent with each HTTP request.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = {key: value for key, value in connection.items() if value is not None}
        self._stores: dict[str, Any] = {}

    @cached_property
    def _obstore(self) -> Any:
        try:
            import obstore
            import obstore.exceptions
            import obstore.store
        except ImportError as error:
            raise PluginError("reading URIs needs obstore", hint="pip install 'dativo-assets[remote]'") from error
        return obstore

    def _at(self, uri: str) -> tuple[Any, str]:
        """The store of a URI, and the path in it."""
        parts = urlsplit(uri)
        web = _is_web(uri)
        # A web store's own query goes along with each of its requests.
        base = f"{parts.scheme}://{parts.netloc}" + (f"/?{parts.query}" if web and parts.query else "")
        if base not in self._stores:
            config = {key: str(value) for key, value in self._connection.items() if key != "headers"}
            plain = base.startswith("http://") or config.get("endpoint", "").startswith("http://")
            client: dict[str, Any] = {"allow_http": plain}
            if headers := self._connection.get("headers"):
                client["default_headers"] = dict(headers)
            options = {"client_options": client, "retry_config": {"max_retries": _MAX_RETRIES}}
            with self._errors(uri):
                if web:
                    store = self._obstore.store.HTTPStore.from_url(base, **options)
                else:
                    store = self._obstore.store.from_url(base, config=config, **options)
            self._stores[base] = store
        return self._stores[base], unquote(parts.path).lstrip("/")

    @contextmanager
    def _errors(self, uri: str) -> Iterator[None]:
        """Whatever a store raises, as an error of the tree that names the URI."""
        known = self._obstore.exceptions
        whole, uri = uri, shown(uri)
        details: dict[str, Any] = {"file": uri}
        try:
            yield
        except DativoError:
            raise
        except FileNotFoundError as error:
            raise not_found(uri) from error
        except (PermissionError, known.PermissionDeniedError, known.UnauthenticatedError) as error:
            raise AuthenticationError(
                f"{uri}: the store refused access", details=details, hint="check the connection's credentials"
            ) from error
        except known.PreconditionError as error:
            raise TransientError(
                f"{uri} changed while it was read", "FILE_CHANGED", details, hint="run again once it is complete"
            ) from error
        except (known.UnknownConfigurationKeyError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"{uri}: the store can't be set up: {_first_line(error)}", hint="check the keys of the connection"
            ) from error
        except Exception as error:
            text = f"{uri}: {_first_line(error)}"
            if _THROTTLED.search(text):
                wait_s = self._asked_wait_s(whole) if _is_web(whole) else None
                asked = {} if wait_s is None else {"retry_after_s": wait_s}
                raise RateLimitError(
                    text, details=details | asked, hint="give it time, or read less at once"
                ) from error
            raise TransientError(text, details=details) from error

    def _asked_wait_s(self, uri: str) -> float | None:
        """How long a web server that turned requests away asks to wait. obstore keeps no headers, so it is asked again."""
        from urllib.error import HTTPError  # what few runs need, and every run with a path would load
        from urllib.request import Request, urlopen

        from .apis import retry_after_s

        request = Request(uri, method="HEAD", headers=dict(self._connection.get("headers") or {}))
        try:
            with urlopen(request, timeout=_ASKED_AGAIN_TIMEOUT_S):
                return None
        except HTTPError as error:
            return retry_after_s(error.headers.get("Retry-After"))
        except OSError:
            return None

    def stat(self, uri: str) -> RemoteFile:
        """Size and version of one file. Raises: ConnectionError: where it does not exist."""
        store, path = self._at(uri)
        with self._errors(uri):
            return _file(uri, self._obstore.head(store, path))

    def find(self, pattern: str) -> list[RemoteFile]:
        """Files whose URI matches a pattern of `*`, `**`, `?` and `[...]`, or that lie under a folder; by URI.

        A web server can't list: its files are named one by one.

        Raises: ConfigurationError: for a name without wildcards that is not there; a folder ends in `/` or has files.
        """
        if _is_web(pattern):
            if re.search(r"[*\[]", pattern) or pattern.endswith("/"):
                raise ConfigurationError(
                    f"{shown(pattern)}: a web server can't list its files", hint="name each file in source.files"
                )
            return [self.stat(pattern)]
        scheme_and_host, folder = _base(pattern)
        store, _ = self._at(pattern)
        with self._errors(pattern):
            found = [
                _file(f"{scheme_and_host}/{quoted(meta['path'])}", meta)
                for batch in self._obstore.list(store, prefix=folder.strip("/") or None)
                for meta in batch
            ]
        if re.search(r"[*?\[]", pattern):
            matches = _pattern(pattern)
            found = [file for file in found if matches.fullmatch(unquote(file.uri))]
        else:
            under = unquote(pattern).rstrip("/")
            found = [f for f in found if unquote(f.uri) == under or unquote(f.uri).startswith(under + "/")]
            if not found and not pattern.endswith("/"):
                raise ConfigurationError(
                    f"file {pattern} does not exist", details={"file": pattern}, hint="check the URI"
                )
        return sorted((file for file in found if not file.uri.endswith("/")), key=lambda file: file.uri)

    def read(self, uri: str, start: int, end: int, e_tag: str | None) -> bytes:
        """The bytes `start..end`, of the very version that `e_tag` names."""
        store, path = self._at(uri)
        with self._errors(uri):
            options = {"range": (start, end), **({"if_match": e_tag} if e_tag else {})}
            return bytes(self._obstore.get(store, path, options=options).bytes())

    def exists(self, uri: str) -> RemoteFile | None:
        """The file, None where there is none."""
        store, path = self._at(uri)
        with self._errors(uri):
            try:
                return _file(uri, self._obstore.head(store, path))
            except FileNotFoundError:
                return None

    def put(self, uri: str, data: bytes, *, instead_of: RemoteFile | None = None) -> bool:
        """Write a file in one request where there is none, or in place of that very version of it.

        Returns: whether it was written; no where another is there. Raises: TransientError: where that isn't known.
        """
        store, path = self._at(uri)
        known = self._obstore.exceptions
        mode: Any = "create" if instead_of is None else {"e_tag": instead_of.e_tag}
        with self._errors(uri):
            try:
                self._obstore.put(store, path, data, mode=mode, use_multipart=False)
            except (known.AlreadyExistsError, known.PreconditionError):
                return False
        return True

    def delete(self, uris: Sequence[str]) -> None:
        """Remove files; those that are gone are."""
        for uri in uris:
            store, path = self._at(uri)
            with self._errors(uri), suppress(FileNotFoundError):
                self._obstore.delete(store, path)

    def open(self, file: RemoteFile) -> io.BufferedReader:
        """The file's bytes, by range requests with one block read ahead; it can seek.

        Raises, while it is read: TransientError: where the file changed since it was looked at.
        """
        return io.BufferedReader(_Stream(RangeReader(self, file)), BLOCK_BYTES)


class RangeReader:
    """One version of a remote file as range requests. size: in bytes."""

    def __init__(self, files: RemoteFiles, file: RemoteFile) -> None:
        from concurrent.futures import ThreadPoolExecutor  # of no use to a run that reads nothing by URI

        self.size = file.size_bytes
        self._files = files
        self._file = file
        self._ahead: tuple[int, int, Future[bytes]] | None = None
        self._pool = ThreadPoolExecutor(1, "read-ahead")

    def read(self, start: int, end: int, ahead: int) -> bytes:
        """The bytes `start..end`. The bytes `end..ahead` are on their way when it returns.

        Raises: TransientError: where the file changed since it was first looked at, or has fewer bytes.
        """
        coming, self._ahead = self._ahead, None
        if ahead > end:
            self._ahead = (end, ahead, self._pool.submit(self._read, end, ahead))
        if coming is not None and coming[:2] == (start, end):
            return coming[2].result()
        return self._read(start, end)

    def _read(self, start: int, end: int) -> bytes:
        block = self._files.read(self._file.uri, start, end, self._file.e_tag)
        if len(block) != end - start:
            uri = shown(self._file.uri)
            raise TransientError(f"{uri} ended early", details={"file": uri})
        return block

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __del__(self) -> None:
        self.close()


class _Stream(io.RawIOBase):
    """A remote file as a file object: the next block is on its way while the last one is consumed."""

    def __init__(self, ranges: RangeReader) -> None:
        self._ranges = ranges
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ranges.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        end = min(self._position + size, self._ranges.size)
        if end <= self._position:
            return 0
        ahead = min(end + size, self._ranges.size) if size >= BLOCK_BYTES else end
        block = self._ranges.read(self._position, end, ahead)
        buffer[: len(block)] = block
        self._position = end
        return len(block)

    def close(self) -> None:
        self._ranges.close()
        super().close()


def _file(uri: str, meta: Mapping[str, Any]) -> RemoteFile:
    modified = meta["last_modified"]
    return RemoteFile(uri, int(meta["size"]), int(modified.timestamp() * 1_000_000) * 1000, meta.get("e_tag"))


def _base(pattern: str) -> tuple[str, str]:
    """`s3://bucket`, and the folder that holds all that a pattern can match."""
    parts = urlsplit(pattern.replace("?", "%3F").replace("#", "%23").replace("[", "%5B"))
    fixed = re.split(r"[*?\[]", unquote(parts.path), maxsplit=1)[0]
    folder = fixed.rpartition("/")[0]
    return f"{parts.scheme}://{parts.netloc}", folder


def _pattern(pattern: str) -> re.Pattern[str]:
    out = ""
    for piece in re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", pattern, re.DOTALL):
        out += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
            piece, f"[{'^' + piece[2:-1] if piece[1] == '!' else piece[1:-1]}]" if len(piece) > 2 else re.escape(piece)
        )
    return re.compile(out, re.DOTALL)


def not_found(uri: str) -> ConnectionError:
    """The error of a file that is not there."""
    details = {"file": uri}
    return ConnectionError(f"{uri} does not exist", "FILE_NOT_FOUND", details, retryable=False, hint="check the URI")


def _first_line(error: Exception) -> str:
    return re.sub(r"\?[^\s\"')]+", "?...", (str(error).strip() or type(error).__name__).splitlines()[0])
