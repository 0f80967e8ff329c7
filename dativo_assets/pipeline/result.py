"""What a run tells: counts, times a stage, checks, the commit. JSON for the CLI, metadata for Dagster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dativo_plugin_sdk import Commit, DativoError

if TYPE_CHECKING:
    from dativo_assets.contract import RuleResult

    from .profile import Profile

Status = Literal["succeeded", "unchanged", "failed", "cancelled"]


@dataclass
class Calls:
    """Calls of one method of a plugin. `next`: of the batches that `read` gave."""

    calls: int = 0
    seconds: float = 0.0


@dataclass
class StageMetrics:
    """One stage's totals over all workers.

    plugin: name and version. seconds: busy; waits_s: blocked on another stage. bytes: in Arrow memory. methods: where the
    seconds went.
    """

    plugin: str = ""
    seconds: float = 0.0
    waits_s: float = 0.0
    rows: int = 0
    bytes: int = 0
    batches: int = 0
    methods: dict[str, Calls] = field(default_factory=dict)

    def called(self, method: str, seconds: float, calls: int = 1) -> None:
        """Count calls of a method that took so long."""
        found = self.methods.setdefault(method, Calls())
        found.calls += calls
        found.seconds += seconds
        self.seconds += seconds

    def add(self, other: StageMetrics) -> None:
        for method, done in other.methods.items():
            self.called(method, done.seconds, done.calls)
        self.waits_s += other.waits_s
        self.rows += other.rows
        self.bytes += other.bytes
        self.batches += other.batches

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class CheckOutcome:
    """One contract rule over one run. sample: up to 5 violating rows, personal data masked."""

    name: str
    description: str
    severity: Literal["error", "warn"]
    passed: bool
    checked: int
    violations: int
    columns: tuple[str, ...] = ()
    sample: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, result: RuleResult) -> CheckOutcome:
        """A rule's result, flat."""
        rule = result.rule
        return cls(
            name=rule.name,
            description=rule.description,
            severity=rule.severity,
            passed=result.passed,
            checked=result.checked,
            violations=result.violations,
            columns=rule.columns,
            sample=result.sample,
        )


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt that failed in a way that may pass. waited_s: before the next one."""

    attempt: int
    error_code: str
    message: str
    waited_s: float

    def __str__(self) -> str:
        return f"attempt {self.attempt} failed and was tried again after {self.waited_s:.1f} s: {self.message}"


@dataclass
class RunResult:
    """The outcome of one run of one job, or of one of its streams. partitions: that it was of, for a person."""

    job: str
    run_id: str
    status: Status = "succeeded"
    stream: str | None = None
    partitions: str | None = None
    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    rows_skipped: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    attempts: int = 1
    failed_attempts: list[FailedAttempt] = field(default_factory=list)
    splits_resumed: int = 0
    stages: dict[str, StageMetrics] = field(default_factory=dict)
    checks: tuple[CheckOutcome, ...] = ()
    notes: tuple[str, ...] = ()
    schema_text: dict[str, str] = field(default_factory=dict)
    schema_changes: tuple[str, ...] = ()
    column_tags: dict[str, str] = field(default_factory=dict)
    commit: Commit | None = None
    table_rows: int | None = None
    table_bytes: int | None = None
    files: tuple[str, ...] = ()
    error: DativoError | None = None
    profile: Profile | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """`job`, or `job.stream`."""
        return self.job if self.stream is None else f"{self.job}.{self.stream}"

    @property
    def ok(self) -> bool:
        return self.status in ("succeeded", "unchanged")

    def to_dict(self) -> dict[str, Any]:
        """JSON values. bytes are bytes, seconds seconds; files are absolute paths of this run's commit."""
        commit = self.commit
        return {
            "job": self.job,
            **({} if self.stream is None else {"stream": self.stream}),
            "status": self.status,
            "run_id": self.run_id,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "rows_rejected": self.rows_rejected,
            "rows_skipped": self.rows_skipped,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "seconds": round(self.seconds, 4),
            "peak_rss_bytes": self.peak_rss_bytes,
            "attempts": self.attempts,
            "failed_attempts": [asdict(attempt) for attempt in self.failed_attempts],
            "splits_resumed": self.splits_resumed,
            "seq": commit.seq if commit else None,
            "cursor": commit.cursor if commit else None,
            **({} if self.partitions is None else {"partitions": self.partitions}),
            "files": list(self.files),
            "quarantine": list(commit.quarantine) if commit else [],
            "commit": {"seq": commit.seq, "run_id": commit.run_id, "committed_at": commit.committed_at}
            if commit
            else None,
            "schema": self.schema_text,
            "schema_changes": list(self.schema_changes),
            "checks": [asdict(check) for check in self.checks],
            "stages": {name: {**asdict(stage), "rows_per_s": stage.rows_per_s} for name, stage in self.stages.items()},
            "notes": list(self.notes),
            "error": self.error.to_dict() if self.error else None,
        }
