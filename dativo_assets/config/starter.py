"""A small project that runs, for `dativo init` and `dg scaffold defs`."""

from __future__ import annotations

from pathlib import Path

STARTER = {
    "dativo.yaml": """\
jobs: jobs/**/*.yaml
defaults:
  target: {writer: parquet, path: "warehouse/{name}"}
""",
    "jobs/cities.yaml": """\
description: Cities and how many people live in them
source:
  reader: csv
  files: [data/cities.csv]
schema:
  - {name: city, type: string, primary_key: true}
  - {name: country, type: string, required: true, pattern: "^[A-Z]{2}$"}
  - {name: people, type: int64, required: true, min: 1}
  - {name: counted_on, type: date}
on_violation: quarantine
""",
    "data/cities.csv": """\
city,country,people,counted_on
Lagos,NG,15388000,2022-07-01
Lima,PE,10092000,2022-07-01
Atlantis,XX,,
Oslo,NO,709037,2023-01-01
""",
    ".gitignore": "warehouse/\n.dagster/\n",
}


def write_starter(root: Path) -> list[str]:
    """Writes the files that are not there yet, and returns their names."""
    written = []
    for name, text in STARTER.items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(name)
    return written
