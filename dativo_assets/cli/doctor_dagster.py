"""What `dativo doctor` looks at in Dagster's instance and its daemon, and on the clock that schedules go by."""

from __future__ import annotations

import os
import tempfile
import time
import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dativo_assets.config.masking import mask_line

from .context import Selection
from .findings import Finding

if TYPE_CHECKING:
    from dagster import DagsterInstance

_SKEW_S = 5.0
_RELEASED = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()
_START = "start it and keep it running: dagster-daemon run (dagster dev has one of its own)"

_SET_CLOCK = "set the clock, and keep it right with NTP (timedatectl set-ntp true)"


def home_of(root: Path) -> Path | None:
    """The instance's folder: DAGSTER_HOME, else the one that `dativo materialize` made."""
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given)
    made = root / ".dagster"
    return made if made.is_dir() else None


def instance(selection: Selection) -> list[Finding]:
    """Where runs are recorded, whether what is set there suits a service, and whether the daemon is alive."""
    import dagster as dg

    home = home_of(selection.project.root)
    if home is None:
        hint = "set DAGSTER_HOME to a folder that is kept; deploy/dagster.yaml is an example of its settings"
        return [Finding("instance", "DAGSTER_HOME", "warning", "it is not set: Dagster forgets its runs", hint)]
    if not home.is_dir():
        hint = f"mkdir -p {home}, and put a dagster.yaml there"
        return [Finding("instance", "DAGSTER_HOME", "error", f"there is no folder {home}", hint)]
    try:
        with dg.DagsterInstance.from_config(str(home)) as opened:
            return [*_storage(opened, home), *_settings(opened), *_daemons(opened)]
    except Exception as error:
        return [Finding("instance", str(home), "error", f"it can't be opened: {_said(error)}", _why(error))]


def _said(error: Exception) -> str:
    """The line that tells most: of the first cause, or where Dagster lists what is wrong with its settings."""
    cause: BaseException = error
    while (before := cause.__cause__ or cause.__context__) is not None:
        cause = before
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()] or [type(error).__name__]
    first = next(
        (line for line in lines if line.startswith("Error 1")), str(cause).strip().partition("\n")[0] or lines[0]
    )
    return mask_line(first)


def _why(error: Exception) -> str:
    if "Config" in type(error).__name__ or type(error).__module__.startswith("yaml"):
        return "correct dagster.yaml there"
    if isinstance(error, ImportError):
        return "pip install 'dativo-assets[deploy]', and name its driver: postgresql+psycopg2://..."
    return "is its database up, and do dagster.yaml and the environment name it rightly?"


def _storage(opened: DagsterInstance, home: Path) -> Iterator[Finding]:
    opened.get_run_records(limit=1)
    kind = type(opened.event_log_storage).__name__
    local = "Sqlite" in kind or "InMemory" in kind
    hint = "for more than one machine or many runs at a time use Postgres: deploy/dagster.yaml" if local else None
    where = (
        f"runs are recorded in {'SQLite files' if local else kind.removesuffix('EventLogStorage')}, settings in {home}"
    )
    yield Finding("instance", "storage", "ok", where, hint)
    for storage in (opened.run_storage, opened.event_log_storage, opened.schedule_storage):
        current, newest = storage.alembic_version() or (None, None) if storage is not None else (None, None)
        if current != newest:
            message = f"{type(storage).__name__} is of an older release (schema {current}, not {newest})"
            yield Finding("instance", "storage", "error", message, "stop Dagster, then: dagster instance migrate")


def _settings(opened: DagsterInstance) -> Iterator[Finding]:
    if not opened.run_monitoring_enabled:
        message = "off: a run whose process died stays STARTED for ever"
        yield Finding(
            "instance", "run monitoring", "warning", message, "run_monitoring: {enabled: true} in dagster.yaml"
        )
    if not opened.run_retries_enabled:
        message = "off: a run whose machine died is not tried again"
        hint = "run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false} in dagster.yaml"
        yield Finding("instance", "run retries", "warning", message, hint)


def _daemons(opened: DagsterInstance) -> Iterator[Finding]:
    """Who starts sensors, schedules and queued runs: its last heartbeat, and what it complains of."""
    from dagster._daemon.controller import get_daemon_statuses

    statuses = get_daemon_statuses(opened, opened.get_required_daemon_types())
    if all(status.last_heartbeat is None for status in statuses.values()):
        message = "it never ran: no sensor, no schedule and no queued run is started"
        yield Finding("daemon", "dagster-daemon", "warning", message, _START)
        return
    for name, status in statuses.items():
        yield _daemon(name.lower().replace("_", " "), status)


def _daemon(name: str, status: Any) -> Finding:
    beat = status.last_heartbeat
    if beat is None:
        return Finding("daemon", name, "error", "it never ran, though others of the daemon did", _START)
    age = time.time() - beat.timestamp
    if age < -_SKEW_S:
        message = f"its machine's clock is {-age:.0f} s ahead of this one"
        return Finding("daemon", name, "warning", message, _SET_CLOCK)
    age = max(0.0, age)
    if status.healthy:
        return Finding("daemon", name, "ok", f"alive {age:.0f} s ago")
    if beat.errors:
        first = next(iter(beat.errors[0].message.strip().splitlines()), "an error")
        return Finding("daemon", name, "error", f"it failed: {first}", "see its log; dagster-daemon run shows it")
    return Finding("daemon", name, "error", f"silent for {_ago(age)}", _START)


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def clock(selection: Selection) -> list[Finding]:
    """Whether this machine, its disk and the instance's database agree on the time, and time zones are known."""
    now = time.time()
    shown = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="seconds")
    if now < _RELEASED:
        return [Finding("clock", "machine", "error", f"it says {shown}, which is past", _SET_CLOCK)]
    found = [Finding("clock", "machine", "ok", shown)]
    with tempfile.NamedTemporaryFile(dir=_writable(selection.project.root)) as file:
        file.write(b"\n")
        file.flush()
        skew = os.stat(file.name).st_mtime - time.time()
    if abs(skew) > _SKEW_S:
        message = f"the disk of the project is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
        found.append(Finding("clock", "disk", "warning", message, _SET_CLOCK))
    if not zoneinfo.available_timezones():
        message = "no time zone is known: a cron with a time zone fails"
        found.append(Finding("clock", "time zones", "error", message, "pip install tzdata"))
    return found


def _writable(root: Path) -> str | None:
    return str(root) if os.access(root, os.W_OK) else None
