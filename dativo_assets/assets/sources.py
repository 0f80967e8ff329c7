"""What jobs read, as explicit external assets."""

from collections import defaultdict
from collections.abc import Iterable

import dagster as dg

from dativo_assets.config import JobConfig
from dativo_assets.lineage import Source, plugin_kinds, project_sources

GROUP = "sources"


def source_assets(
    jobs: Iterable[JobConfig], derived: frozenset[str]
) -> tuple[dict[str, list[Source]], list[dg.AssetSpec]]:
    """The sources of each job, and a spec for each source.

    derived: names of jobs that read upstream tables alone, and so have no source of their own.
    Returns: {job: sources}, specs sorted by key.
    """
    read: dict[str, list[Source]] = defaultdict(list)
    specs = []
    for source in project_sources(jobs, derived):
        specs.append(_spec(source))
        for job in source.readers:
            read[job.name].append(source)
    return read, specs


def source_key(source: Source) -> dg.AssetKey:
    return dg.AssetKey(list(source.path))


def _spec(source: Source) -> dg.AssetSpec:
    names = ", ".join(sorted({job.name for job in source.readers})[:5])
    more = f" and {len(source.readers) - 5} more" if len(source.readers) > 5 else ""
    return dg.AssetSpec(
        key=source_key(source),
        group_name=GROUP,
        description=f"{source.what[:1].upper()}{source.what[1:]}, read by {names}{more}.",
        kinds={plugin_kinds(source.readers[0].source.reader)[0]},
        metadata={"source": source.what},
    )
