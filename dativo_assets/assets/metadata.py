"""A run's result as Dagster shows it: metadata in the order of its weight, check results, failures."""

from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES

from dativo_assets.config import JobConfig
from dativo_assets.contract import Contract, Rule
from dativo_assets.errors import ConfigurationErrors, DativoError, render
from dativo_assets.pipeline import CheckOutcome, RunResult
from dativo_assets.pipeline.profile import Profile, shown

from .translate import column_schema, cursor_field, table_name, target_uri

_MAX_FILES_SHOWN = 20


def run_metadata(
    job: JobConfig, contract: Contract | None, result: RunResult, lineage: dg.TableColumnLineage | None = None
) -> dict[str, Any]:
    """What a materialization says. Numbers are plotted over runs; bytes are bytes, seconds seconds."""
    found: dict[str, Any] = {
        "dagster/row_count": result.table_rows,
        "dagster/size_bytes": result.table_bytes,
        "rows_read": result.rows_read,
        "rows_written": result.rows_written,
        "rows_rejected": result.rows_rejected,
        "rows_skipped": result.rows_skipped or None,
        "bytes_read": result.bytes_read,
        "bytes_written": result.bytes_written,
        "duration_s": round(result.seconds, 3),
        "rows_per_s": round(result.rows_read / result.seconds, 1) if result.seconds > 0 else None,
        **_stages(result),
        "plugin_calls": _calls(result),
        "peak_memory_bytes": result.peak_rss_bytes,
        "attempts": result.attempts if result.attempts > 1 else None,
    }
    commit = result.commit
    if commit is not None:
        found["commit_seq"] = commit.seq
        found["commit_run_id"] = commit.run_id
        found["cursor"] = None if commit.cursor is None else dg.MetadataValue.json(commit.cursor)
        for side in ("reader", "writer"):
            found[side] = commit.plugins.get(side)
        found["contract"] = commit.details.get("contract")
        if partitions := commit.details.get("partitions"):
            found["partitions"] = partitions["keys"]
            found["dagster/partition_row_count"] = None if ".." in partitions["keys"] else result.rows_written
    found["files"] = _files(result.files)
    found["dagster/uri"] = target_uri(job)
    found["dagster/table_name"] = table_name(job)
    if result.schema_text:
        found["dagster/column_schema"] = column_schema(
            result.schema_text,
            contract,
            cursor_field(job),
            {} if commit is None else commit.details.get("column_tags", {}),
        )
    found["dagster/column_lineage"] = lineage
    if result.profile is not None and result.profile.columns:
        found.update(_profiled(result.profile, contract))
    found["schema_changes"] = _lines(result.schema_changes)
    found["notes"] = _lines(result.notes)
    if commit is not None and commit.quarantine:
        found["quarantine"] = _files(commit.quarantine)
    return {key: value for key, value in found.items() if value is not None}


def _stages(result: RunResult) -> dict[str, float | None]:
    """Seconds of each stage over all threads, then rows/s of those that move rows, what they waited, and the memory of isolated
    plugins.
    """
    seconds = {f"{name}_s": round(stage.seconds, 3) for name, stage in result.stages.items()}
    rates = {f"{name}_rows_per_s": round(stage.rows_per_s, 1) or None for name, stage in result.stages.items()}
    waits = {f"{name}_waits_s": round(stage.waits_s, 3) or None for name, stage in result.stages.items()}
    peaks = {f"{name}_peak_memory_bytes": stage.peak_rss_bytes or None for name, stage in result.stages.items()}
    return {**seconds, **rates, **waits, **peaks}


def _calls(result: RunResult) -> dg.MetadataValue[Any] | None:
    """A line for each method of a plugin: where the seconds of the stages went. As text: a table of Dagster's costs every run
    its column types, twice.
    """
    lines = [
        f"| {stage.plugin or name} | {method} | {done.calls} | {done.seconds:.3f} |"
        for name, stage in result.stages.items()
        for method, done in stage.methods.items()
    ]
    head = ["| plugin | method | calls | seconds |", "|---|---|--:|--:|"]
    return dg.MetadataValue.md("\n".join(head + lines)) if lines else None


def _profiled(profile: Profile, contract: Contract | None) -> dict[str, Any]:
    """preview: a few rows. profile: a line for each column. Values of classified columns are stars."""
    masked = {column.name for column in contract.columns if column.masked} if contract is not None else set()
    rows = [
        dg.TableRecord({name: shown(value, name in masked) for name, value in row.items()}) for row in profile.sample
    ]
    columns = [
        dg.TableRecord(
            {
                "column": column.name,
                "type": column.type,
                "nulls": column.nulls,
                "distinct": "many" if column.distinct is None else str(column.distinct),
                "min": shown(column.least, column.name in masked),
                "max": shown(column.greatest, column.name in masked),
            }
        )
        for column in profile.columns.values()
    ]
    return {
        "preview": dg.MetadataValue.table(rows) if rows else None,
        "profile": dg.MetadataValue.table(columns),
        "profile_rows": profile.rows,
    }


def unchanged_metadata(result: RunResult) -> dict[str, Any]:
    """What the observation of a run without anything new says: the table as it stands, so that its plots go on."""
    commit = result.commit
    found: dict[str, Any] = {
        "dagster/row_count": result.table_rows,
        "dagster/size_bytes": result.table_bytes,
        "rows_read": 0,
        "rows_written": 0,
        "status": "unchanged",
        "commit_seq": commit.seq if commit is not None else None,
        "committed_at": commit.committed_at if commit is not None else None,
        "notes": _lines(result.notes),
    }
    return {key: value for key, value in found.items() if value is not None}


def _files(names: tuple[str, ...]) -> dg.MetadataValue[Any] | None:
    if not names:
        return None
    if len(names) == 1:
        return dg.MetadataValue.path(names[0])
    more = len(names) - _MAX_FILES_SHOWN
    shown = [f"- `{name}`" for name in names[:_MAX_FILES_SHOWN]]
    return dg.MetadataValue.md("\n".join(shown + ([f"- and {more} more"] if more > 0 else [])))


def _lines(texts: tuple[str, ...]) -> dg.MetadataValue[Any] | None:
    if not texts:
        return None
    return (
        dg.MetadataValue.text(texts[0]) if len(texts) == 1 else dg.MetadataValue.md("\n".join(f"- {t}" for t in texts))
    )


def check_specs(key: dg.AssetKey, contract: Contract | None) -> list[dg.AssetCheckSpec]:
    """A check for each rule. It blocks what is downstream exactly when a violation keeps the run from committing."""
    if contract is None:
        return []
    return [
        dg.AssetCheckSpec(
            rule.name,
            asset=key,
            description=_said(rule),
            blocking=rule.severity == "error" and contract.on_violation == "fail",
        )
        for rule in contract.rules
    ]


def _said(rule: Rule) -> str:
    return f"{rule.description}{f'; violations {rule.limit}' if rule.limit is not None else ''}"


def check_results(
    key: dg.AssetKey, names: frozenset[str], result: RunResult, contract: Contract | None
) -> Iterator[dg.AssetCheckResult]:
    """The outcome of each rule that the run came to judge.

    Its severity is the one that the contract names; where it names none, what kept the run from committing is an error, and
    what else is broken warns.
    """
    kept_out = result.commit is None
    said = {rule.name for rule in contract.rules if rule.says_severity} if contract is not None else set()
    for outcome in result.checks:
        if outcome.name in names:
            severe = outcome.severity == "error" and (kept_out or outcome.name in said)
            yield dg.AssetCheckResult(
                passed=outcome.passed,
                asset_key=key,
                check_name=outcome.name,
                severity=dg.AssetCheckSeverity.ERROR if severe else dg.AssetCheckSeverity.WARN,
                description=_verdict(outcome),
                metadata=_check_metadata(outcome),
            )


def last_outcomes(
    key: dg.AssetKey, names: Iterable[str], instance: dg.DagsterInstance
) -> Iterator[dg.AssetCheckResult]:
    """The newest outcome of each check that an instance knows."""
    for name in names:
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, name), limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
        )
        for record in records:
            event = record.event.dagster_event if record.event is not None else None
            if event is not None:
                last = event.asset_check_evaluation_data
                yield dg.AssetCheckResult(
                    passed=last.passed,
                    asset_key=key,
                    check_name=name,
                    severity=last.severity,
                    description=last.description,
                    metadata=last.metadata,
                )


def _verdict(outcome: CheckOutcome) -> str:
    if outcome.violations == 0:
        return f"{outcome.description}: all {outcome.checked:,} rows"
    return f"{outcome.description}: {outcome.violations:,} of {outcome.checked:,} rows break it"


def _check_metadata(outcome: CheckOutcome) -> dict[str, Any]:
    found: dict[str, Any] = {
        "checked": outcome.checked,
        "violations": outcome.violations,
        "rule": outcome.description,
        "severity": outcome.severity,
        "columns": ", ".join(outcome.columns) or None,
        "sample": dg.MetadataValue.table(_records(outcome.sample)) if outcome.sample else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _records(sample: tuple[dict[str, Any], ...]) -> list[dg.TableRecord]:
    names = list(dict.fromkeys(name for row in sample for name in row))
    return [dg.TableRecord({name: _cell(row.get(name)) for name in names}) for row in sample]


def _cell(value: Any) -> Any:
    return value if isinstance(value, (int, float, str, bool)) else "" if value is None else str(value)


def failure(*errors: DativoError, of: int = 1) -> dg.Failure:
    """The error as Dagster shows it: its message first, then what to do and where, then its whole text. of: how many tables
    ran, where several may have failed.
    """
    error = errors[0]
    first = error.errors[0] if isinstance(error, ConfigurationErrors) and error.errors else error
    text = "\n\n".join(render(each) for each in errors)
    headline = _headline(error)
    if of > 1:
        names = ", ".join(str(each.details.get("job")) for each in errors)
        headline = f"{len(errors)} of {of} streams failed ({names}): {headline}"
    return dg.Failure(
        description=headline,
        metadata=error_metadata(first, text),
        allow_retries=any(each.retryable for each in errors),
    )


def _headline(error: DativoError) -> str:
    text = f"{error.message} [{error.error_code}]"
    return f"{text} Hint: {error.hint}" if error.hint else text


def error_metadata(error: DativoError, text: str) -> dict[str, Any]:
    """hint, where, error_code, error. text: the rendered error. Where: the place in a file, else that of the broken rule."""
    details = error.details
    # Without a file, `column` is the name of one in the data.
    in_file = details.get("file") is not None
    place = ":".join(
        str(details[key]) for key in ("file", "line", "column") if in_file and details.get(key) is not None
    )
    others = ("stage", "split", "row", "plugin") if in_file else ("stage", "split", "row", "column", "plugin")
    found: dict[str, Any] = {
        "hint": error.hint,
        "where": place or details.get("declared"),
        "error_code": error.error_code,
        **{key: str(details[key]) for key in others if details.get(key) is not None},
        "error": dg.MetadataValue.md(f"```\n{text}\n```"),
    }
    return {key: value for key, value in found.items() if value is not None}
