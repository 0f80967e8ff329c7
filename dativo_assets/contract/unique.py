"""Which rows of a stream repeat a key that came before: exact over the whole run, from several threads.

A key of one fixed-width column is held as its own 64 bits; sorted keys are held as runs, a gapless run as its two ends.
Any other key is held as 96 bits of two hashes seeded anew in each process: among a billion keys, the chance that two differ
and collide is below 1 in 10^10.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import threading
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from .masks import Array, Mask

Words: TypeAlias = Any  # a numpy array of uint64

_PARTS = 8
_PART_BITS = np.uint64(3)
_EDGES = np.arange(1, _PARTS, dtype=np.uint64) << np.uint64(61)
_MAX_LOAD = 0.7
_FIRST_CAPACITY = 1 << 14
_STEPS = np.uint64(63)
_LONG_TEXT_BYTES = 256
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SEEDS = np.frombuffer(os.urandom(16), np.uint64)
_LOW_BYTES = np.array([(1 << (8 * n)) - 1 for n in range(8)] + [2**64 - 1], np.uint64)


class UniqueIndex:
    """The keys seen so far. types: of the key's columns."""

    def __init__(self, types: list[Any]) -> None:
        for data_type in types:
            if pa.types.is_nested(data_type):
                raise ValueError(f"a unique key needs plain columns, and this one is {data_type}")
        self._lock = threading.Lock()
        self._wide = len(types) != 1 or not _is_narrow(types[0])
        self._runs = _Runs()
        self._table = _Table(wide=self._wide)

    def repeated(self, columns: list[Array], skip: Mask | None) -> Mask | None:
        """The rows whose key came before, in this batch or an earlier one. Rows with a null in the key, and those of
        `skip`, are left out, and are not remembered.
        """
        length = len(columns[0])
        use = _used(columns, skip)
        rows = None if use is None else np.flatnonzero(use)
        if rows is not None:
            columns = [column.take(pa.array(rows)) for column in columns]
        if len(columns[0]) == 0:
            return None
        found = self._add_wide(columns) if self._wide else self._add_narrow(columns[0])
        if found is None:
            return None
        if rows is not None:
            flags = np.zeros(length, np.bool_)
            flags[rows[found]] = True
            found = flags
        return pa.array(found)

    def _add_narrow(self, column: Array) -> Any:
        keys = _words(column).view(np.int64)
        if len(keys) == 1 or bool((keys[1:] > keys[:-1]).all()):
            with self._lock:
                if self._table.count == 0 and self._runs.insert(keys):
                    return None
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        again = np.zeros(len(keys), np.bool_)
        again[1:] = ordered[1:] == ordered[:-1]
        mixed = _mixed(ordered.view(np.uint64))
        with self._lock:
            again |= self._runs.contains(ordered)
            fresh = np.flatnonzero(~again)
            by_hash = fresh[np.argsort(mixed[fresh])]
            again[by_hash] = self._table.add(mixed[by_hash], None)
        return _in_row_order(again, order)

    def _add_wide(self, columns: list[Array]) -> Any:
        high, low = _hashes(columns)
        order = np.argsort(high, kind="stable")
        high, low = high[order], low[order]
        again = np.zeros(len(high), np.bool_)
        again[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        fresh = np.flatnonzero(~again)
        with self._lock:
            again[fresh] = self._table.add(high[fresh], low[fresh])
        return _in_row_order(again, order)


def _in_row_order(again: Any, order: Any) -> Any:
    if not again.any():
        return None
    found = np.empty(len(again), np.bool_)
    found[order] = again
    return found


def _used(columns: list[Array], skip: Mask | None) -> Any:
    use = None if skip is None else ~_flags(skip)
    for column in columns:
        if column.null_count:
            valid = _flags(column.is_valid())
            use = valid if use is None else use & valid
    return use


def _flags(mask: Mask) -> Any:
    return mask.cast(pa.uint8()).to_numpy(zero_copy_only=False).view(np.bool_)


class _Runs:
    """Disjoint sorted runs of keys, in order; keys is None for a run without a gap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._keys: list[Any] = []

    def insert(self, keys: Any) -> bool:
        """Take strictly increasing keys, unless they reach into another run."""
        low, high = int(keys[0]), int(keys[-1])
        at = bisect.bisect_left(self._starts, low)
        if (at > 0 and self._ends[at - 1] >= low) or (at < len(self._starts) and self._starts[at] <= high):
            return False
        gapless = high - low + 1 == len(keys)
        if gapless and at > 0 and self._keys[at - 1] is None and self._ends[at - 1] + 1 == low:
            self._ends[at - 1] = high
            return True
        self._starts.insert(at, low)
        self._ends.insert(at, high)
        self._keys.insert(at, None if gapless else keys.copy())
        return True

    def contains(self, ordered: Any) -> Any:
        """Which of the sorted keys are held."""
        found = np.zeros(len(ordered), np.bool_)
        if not self._starts:
            return found
        first = max(0, bisect.bisect_right(self._starts, int(ordered[0])) - 1)
        last = bisect.bisect_right(self._starts, int(ordered[-1]))
        for at in range(first, last):
            begin = np.searchsorted(ordered, self._starts[at])
            end = np.searchsorted(ordered, self._ends[at], side="right")
            keys = self._keys[at]
            if keys is None:
                found[begin:end] = True
            elif begin < end:
                part = ordered[begin:end]
                found[begin:end] = keys[np.searchsorted(keys, part)] == part
        return found


class _Table:
    """Hashes by open addressing, in parts that grow one at a time, so that growing never holds everything twice."""

    def __init__(self, *, wide: bool) -> None:
        self.count = 0
        self._parts = [_Part(wide=wide) for _ in range(_PARTS)]

    def add(self, high: Words, low: Words | None) -> Any:
        """Remember distinct hashes, sorted by `high`; returns which were there before."""
        found = np.zeros(len(high), np.bool_)
        cuts = [0, *np.searchsorted(high, _EDGES).tolist(), len(high)]
        for part, begin, end in zip(self._parts, cuts[:-1], cuts[1:], strict=True):
            if begin < end:
                found[begin:end] = part.add(high[begin:end], None if low is None else low[begin:end])
        self.count = sum(part.count for part in self._parts)
        return found


class _Part:
    """An empty slot holds 0; a hash that is 0 is held aside."""

    def __init__(self, *, wide: bool) -> None:
        self.count = 0
        self._capacity = _FIRST_CAPACITY
        self._high = np.zeros(self._capacity, np.uint64)
        self._low = np.zeros(self._capacity, np.uint32) if wide else None
        self._zeros: set[int] = set()

    def add(self, high: Words, low: Any) -> Any:
        found = np.zeros(len(high), np.bool_)
        zeros = np.flatnonzero(high == 0)
        for row in zeros:
            key = 0 if low is None else int(low[row])
            found[row] = key in self._zeros
            self._zeros.add(key)
        if self.count + len(high) > self._capacity * _MAX_LOAD:
            self._grow(self.count + len(high))
        rest = np.flatnonzero(high != 0) if len(zeros) else np.arange(len(high))
        found[rest] = self._place(high[rest], None if low is None else low[rest])
        self.count += int(len(rest) - np.count_nonzero(found[rest]))
        return found

    def _grow(self, needed: int) -> None:
        held = np.flatnonzero(self._high)
        high = self._high[held]
        low = None if self._low is None else self._low[held]
        while self._capacity * _MAX_LOAD * 0.9 < needed:
            self._capacity = self._capacity * 3 // 2
        self._high = np.zeros(self._capacity, np.uint64)
        if low is not None:
            self._low = np.zeros(self._capacity, np.uint32)
        self._place(high, low)

    def _place(self, high: Words, low: Any) -> Any:
        """Put hashes where they belong; returns which were there before. Each round settles all but those that clash."""
        found = np.zeros(len(high), np.bool_)
        shifted = (high << _PART_BITS) >> np.uint64(32)
        slots = ((shifted * np.uint64(self._capacity)) >> np.uint64(32)).astype(np.int64)
        rows = np.arange(len(high))
        while len(rows):
            there = self._high[slots]
            free = np.flatnonzero(there == 0)
            claimed = slots[free]
            self._high[claimed] = high[free]
            if low is not None and self._low is not None:
                self._low[claimed] = low[free]
            # Of rows that claimed one slot, the one written last has it; a slot that was full holds what it held.
            settled = self._high[slots] == high
            if low is not None and self._low is not None:
                settled &= self._low[slots] == low
            known = settled.copy()
            known[free] = False
            found[rows[known]] = True
            left = np.flatnonzero(~settled)
            rows, high = rows[left], high[left]
            slots = slots[left] + 1 + (high & _STEPS).astype(np.int64)
            low = None if low is None else low[left]
            slots[slots >= self._capacity] -= self._capacity
        return found


def _is_narrow(data_type: Any) -> bool:
    types = pa.types
    return bool(
        types.is_integer(data_type)
        or types.is_temporal(data_type)
        or types.is_boolean(data_type)
        or types.is_floating(data_type)
    )


def _words(column: Array) -> Words:
    """A narrow column without nulls as 64 bits a value, equal exactly where the values are."""
    data_type = column.type
    if pa.types.is_boolean(data_type):
        column = column.cast(pa.uint8())
    elif pa.types.is_floating(data_type):
        values = column.cast(pa.float64()).to_numpy() + 0.0  # -0.0 equals 0.0
        values[np.isnan(values)] = np.nan
        return values.view(np.uint64)
    elif pa.types.is_temporal(data_type):
        column = column.view(pa.int32() if data_type.bit_width == 32 else pa.int64())
    found = column.to_numpy(zero_copy_only=False)
    return found.astype(np.int64 if found.dtype.kind == "i" else np.uint64, copy=False).view(np.uint64)


def _mixed(words: Words) -> Words:
    """A bijection that spreads every bit over all others (splitmix64's)."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _MIX[0]
    words = (words ^ (words >> np.uint64(27))) * _MIX[1]
    return words ^ (words >> np.uint64(31))


def _hashes(columns: list[Array]) -> tuple[Words, Any]:
    """64 and 32 bits a row."""
    high = np.full(len(columns[0]), _SEEDS[0])
    low = np.full(len(columns[0]), _SEEDS[1])
    for column in columns:
        if _is_narrow(column.type):
            words = _words(column)
            high, low = _mixed(high ^ words), _mixed(low ^ _mixed(words + _SEEDS[1]))
        else:
            high, low = _text_hashes(column, high, low)
    return high, (low >> np.uint64(32)).astype(np.uint32)


def _text_hashes(column: Array, high: Words, low: Words) -> tuple[Words, Words]:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    column = column.cast(pa.large_binary()) if not pa.types.is_large_binary(column.type) else column
    offsets = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + len(column) + 1]
    sizes = np.diff(offsets)
    begin, end = int(offsets[0]), int(offsets[-1])
    buffer = column.buffers()[2]
    data = np.zeros(end - begin + 8, np.uint8)
    if end > begin:
        data[:-8] = np.frombuffer(buffer, np.uint8)[begin:end]
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    starts = offsets[:-1] - begin
    high, low = _mixed(high ^ sizes.view(np.uint64)), _mixed(low + sizes.view(np.uint64))
    rows = np.arange(len(sizes))
    rows = rows[(sizes > 0) & (sizes <= _LONG_TEXT_BYTES)]
    done = 0
    while len(rows):
        left = sizes[rows] - done
        part = words[starts[rows] + done] & _LOW_BYTES[np.minimum(left, 8)]
        high[rows] = _mixed(high[rows] ^ part)
        low[rows] = _mixed(low[rows] ^ _mixed(part + _SEEDS[1]))
        done += 8
        rows = rows[left > 8]
    for row in np.flatnonzero(sizes > _LONG_TEXT_BYTES):
        digest = hashlib.blake2b(data[starts[row] : starts[row] + sizes[row]].tobytes(), digest_size=16).digest()
        first, second = np.frombuffer(digest, np.uint64)
        high[row], low[row] = _mixed(high[row : row + 1] ^ first)[0], _mixed(low[row : row + 1] ^ second)[0]
    return high, low
