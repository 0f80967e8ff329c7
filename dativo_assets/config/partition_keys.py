"""Which rows the keys of partitions stand for; the keys are Dagster's own.

selected(job, "2024-01-01..2024-01-31")   as a person writes it: a key, or the first and the last
in_turn(job, "2024-01-01..2024-01-31")    the same, shared out to runs of `per_run` partitions
of_keys(job, ["2024-01-01", ...])         as Dagster gives them, in their order
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

from dativo_plugin_sdk.partition_rows import PartitionRange, PartitionSelection

from dativo_assets.errors import ConfigurationError

from .models import JobConfig
from .timing import Partitions, TimePartitions
from .words import nearest

_FORMATS = {"hourly": "%Y-%m-%d-%H:%M"}
_FORMAT = "%Y-%m-%d"
_SEPARATOR, _TO = "|", ".."


def selected(job: JobConfig, text: str) -> PartitionSelection:
    """The partitions that a text names: `A` or `A..B`, the last included; keys of several parts are written `A|B`.

    Raises: ConfigurationError: for a key that is none, partitions without a column, and a job without partitions.
    """
    axes = _axes(job, text)
    if axes[0].files is not None:
        return of_file(job, text)
    first, _, last = text.partition(_TO)
    ends = [_parts(job, key, len(axes)) for key in (first, last or first)]
    ranges = [_between(job, axis, low, high) for axis, low, high in zip(axes, *ends, strict=True)]
    return PartitionSelection(tuple(ranges), text, definition(job))


def of_file(job: JobConfig, key: str) -> PartitionSelection:
    """The partition that a file is, of a job that is divided so. key: the file as the reader names it."""
    assert job.partitions is not None
    part = PartitionRange(str(job.partitions.column), (key,), is_file=True)
    return PartitionSelection((part,), key, definition(job))


def in_turn(job: JobConfig, text: str) -> list[PartitionSelection]:
    """The partitions that a text names, in their order, as many in each as a run loads.

    Raises: ConfigurationError: as `selected`.
    """
    whole = selected(job, text)
    assert job.partitions is not None
    size = job.partitions.per_run
    if size is None:
        return [whole]
    keys = [""]
    for axis, part in zip(job.partitions.axes, whole.ranges, strict=True):
        keys = [f"{before}{_SEPARATOR if before else ''}{key}" for before in keys for key in _keys(axis, part)]
    some = [keys[at : at + size] for at in range(0, len(keys), size)]
    return [selected(job, each[0] if len(each) == 1 else f"{each[0]}{_TO}{each[-1]}") for each in some]


def _keys(axis: Partitions, part: PartitionRange) -> list[str]:
    if part.start is None or part.end is None:
        return list(part.values)
    zone, form = ZoneInfo(getattr(axis, axis.kind).timezone), _FORMATS.get(axis.kind, _FORMAT)
    at, end = (datetime.fromisoformat(text).astimezone(zone) for text in (part.start, part.end))
    found = []
    while at < end:
        found.append(at.strftime(f"{form}%z" if at.fold else form))
        at = _next(axis.kind, at, zone)
    return found


def of_keys(job: JobConfig, keys: Sequence[str]) -> PartitionSelection:
    """The partitions of these keys. Raises: ConfigurationError: as `selected`, and for keys that are no range of each part."""
    told = keys[0] if len(keys) == 1 else f"{keys[0]}{_TO}{keys[-1]}"
    axes = _axes(job, told)
    if axes[0].files is not None:
        if len(keys) > 1:
            raise _refused(job, f"a run loads one file, not {len(keys)}", "run them one by one: a backfill does")
        return of_file(job, keys[0])
    split = [_parts(job, key, len(axes)) for key in keys]
    columns = [list(dict.fromkeys(parts[at] for parts in split)) for at in range(len(axes))]
    count = 1
    for column in columns:
        count *= len(column)
    if count != len(set(keys)):
        raise _refused(
            job,
            f"{len(keys)} partitions at once are no range of each of their parts",
            "run them one by one, or a range",
        )
    ranges = [_among(job, axis, column) for axis, column in zip(axes, columns, strict=True)]
    return PartitionSelection(tuple(ranges), told, definition(job))


def definition(job: JobConfig) -> str:
    """How the table is divided, for a person, the same as long as it is divided so."""
    return " and ".join(map(_told, job.partitions.axes)) if job.partitions is not None else ""


def _told(axis: Partitions) -> str:
    by = f"{axis.kind} by {axis.column}"
    given = getattr(axis, axis.kind)
    return f"{by} in {given.timezone}" if isinstance(given, TimePartitions) else by


def _axes(job: JobConfig, keys: str) -> tuple[Partitions, ...]:
    if job.partitions is None:
        raise ConfigurationError(
            f"{job.name} has no partitions",
            details={"job": job.name},
            hint="declare them: partitions: {daily: {start: 2024-01-01, column: ...}}",
        )
    for axis in job.partitions.axes:
        if axis.column is None:
            raise _refused(
                job,
                f"{keys} can't be loaded alone: which rows are in {axis.kind} partitions is not known",
                f"name the column that tells: partitions: {{{axis.kind}: {{column: ..., ...}}}}",
            )
    return job.partitions.axes


def _parts(job: JobConfig, key: str, count: int) -> list[str]:
    parts = key.split(_SEPARATOR) if count > 1 else [key]
    if len(parts) != count:
        assert job.partitions is not None
        names = _SEPARATOR.join(sorted(job.partitions.multi or {}))
        raise _refused(job, f"{key!r} is no partition", f"a key is made of {names}")
    return parts


def _between(job: JobConfig, axis: Partitions, first: str, last: str) -> PartitionRange:
    if isinstance(getattr(axis, axis.kind), TimePartitions):
        return _window(job, axis, first, last)
    if axis.static is None:
        if first != last:
            raise _refused(job, "dynamic partitions have no order, so there is no range of them", "name one")
        return _among(job, axis, [first])
    values = axis.static.values
    for key in (first, last):
        _check_known(job, axis, key)
    found = values[values.index(first) : values.index(last) + 1]
    if not found:
        raise _refused(job, f"{first}{_TO}{last} is empty: {last} comes before {first}", "write the first one first")
    return PartitionRange(str(axis.column), found)


def _among(job: JobConfig, axis: Partitions, keys: Sequence[str]) -> PartitionRange:
    given = getattr(axis, axis.kind)
    if not isinstance(given, TimePartitions):
        for key in keys:
            _check_known(job, axis, key)
        return PartitionRange(str(axis.column), tuple(keys))
    zone = ZoneInfo(given.timezone)
    starts = sorted(_start(job, axis, key) for key in keys)
    for one, other in pairwise(starts):
        if _next(axis.kind, one, zone) != other:
            raise _refused(job, f"there is a gap behind the partition of {one.isoformat()}", "run the parts one by one")
    return _range(axis, starts[0], starts[-1])


def _check_known(job: JobConfig, axis: Partitions, key: str) -> None:
    if axis.static is not None and key not in axis.static.values:
        guess = nearest(key, axis.static.values)
        raise _refused(
            job,
            f"{key!r} is no partition",
            f"did you mean `{guess}`?" if guess else f"partitions are {', '.join(axis.static.values)}",
        )


def _window(job: JobConfig, axis: Partitions, first: str, last: str) -> PartitionRange:
    low, high = _start(job, axis, first), _start(job, axis, last)
    if high < low:
        raise _refused(job, f"{first}{_TO}{last} is empty: {last} comes before {first}", "write the first one first")
    return _range(axis, low, high)


def _range(axis: Partitions, first: datetime, last: datetime) -> PartitionRange:
    zone = ZoneInfo(getattr(axis, axis.kind).timezone)
    end = _next(axis.kind, last, zone)
    return PartitionRange(str(axis.column), start=first.isoformat(), end=end.isoformat())


def _start(job: JobConfig, axis: Partitions, key: str) -> datetime:
    """When the partition of a key begins. A key of an hour that the clock shows twice ends in the offset of the second."""
    given: TimePartitions = getattr(axis, axis.kind)
    zone, form = ZoneInfo(given.timezone), _FORMATS.get(axis.kind, _FORMAT)
    for each in (form, f"{form}%z"):
        try:
            found = datetime.strptime(key, each)  # noqa: DTZ007 - what the clock shows; its zone is the partitions'
        except ValueError:
            continue
        at = _in_zone(found, zone) if found.tzinfo is None else found.astimezone(zone)
        if _floor(axis.kind, at) != at.replace(tzinfo=None):
            raise _refused(job, f"no {axis.kind} partition begins at {key!r}", _EXAMPLES[axis.kind])
        begin = _in_zone(datetime.fromisoformat(given.start).replace(tzinfo=None), zone)
        end = None if given.end is None else _in_zone(datetime.fromisoformat(given.end).replace(tzinfo=None), zone)
        if at < begin or (end is not None and at >= end):
            reach = f"from {given.start}" + (f" up to {given.end}, itself left out" if given.end else "")
            raise _refused(job, f"there is no partition {key!r}: they go {reach}", "name one of these")
        return at
    raise _refused(job, f"{key!r} is no {axis.kind} partition", _EXAMPLES[axis.kind])


_EXAMPLES = {
    "hourly": "write it as 2024-01-31-15:00",
    "daily": "write it as 2024-01-31",
    "weekly": "a week begins on a Sunday: 2024-01-28",
    "monthly": "write its first day: 2024-01-01",
}


def _floor(kind: str, at: datetime) -> datetime:
    day = at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    if kind == "hourly":
        return at.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    if kind == "weekly":
        return day - timedelta(days=at.isoweekday() % 7)
    clock = at.replace(tzinfo=None)  # midnight may be an hour that the clock leaves out
    first = day.replace(day=1) if kind == "monthly" else day
    return clock if _in_zone(first, at.tzinfo) == at else first


def _next(kind: str, at: datetime, zone: ZoneInfo) -> datetime:
    if kind == "hourly":
        return (at.astimezone(timezone.utc) + timedelta(hours=1)).astimezone(zone)
    day = at.replace(hour=0, minute=0, tzinfo=None)
    if kind == "monthly":
        return _in_zone((day.replace(day=1) + timedelta(days=32)).replace(day=1), zone)
    return _in_zone(day + timedelta(days=7 if kind == "weekly" else 1), zone)


def _in_zone(local: datetime, zone: object) -> datetime:
    """A point in time from what the clock shows; an hour that it leaves out is the one behind it."""
    assert isinstance(zone, ZoneInfo)
    return local.replace(tzinfo=zone).astimezone(timezone.utc).astimezone(zone)


def _refused(job: JobConfig, message: str, hint: str) -> ConfigurationError:
    error = ConfigurationError(message, "NO_SUCH_PARTITION", hint=hint)
    error.at(job=job.name, **job.location("partitions").details())
    return error
