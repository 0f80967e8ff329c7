"""A contract as the pipeline, Dagster and the CLI see it: frozen, and free of Arrow until a schema is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from dativo_assets.errors import Location

if TYPE_CHECKING:
    import pyarrow as pa

Severity = Literal["error", "warn"]
OnViolation = Literal["fail", "warn", "quarantine"]
Kind = Literal[
    "types",
    "required",
    "unique",
    "primary_key",
    "min",
    "max",
    "pattern",
    "accepted_values",
    "rejected_values",
    "min_length",
    "max_length",
    "row_count",
]

MASK = "***"
_OPEN_CLASSES = frozenset({"", "public", "open", "none", "unclassified", "unrestricted"})
_PERSONAL_TAGS = frozenset(
    {"pii", "phi", "pci", "personal", "sensitive", "confidential", "restricted", "secret", "gdpr"}
)


@dataclass(frozen=True)
class Constraints:
    """What the values of a column must be, nulls left aside. Bounds as a contract writes them: numbers, or ISO text."""

    min: Any = None
    max: Any = None
    exclusive_min: Any = None
    exclusive_max: Any = None
    pattern: str | None = None
    accepted_values: tuple[Any, ...] | None = None
    min_length: int | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Column:
    """A declared column. type: a type name of `dativo_plugin_sdk.arrow.parse_type`. location: where it is declared."""

    name: str
    type: str = "string"
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    constraints: Constraints = Constraints()
    description: str | None = None
    classification: str | None = None
    tags: tuple[str, ...] = ()
    location: Location | None = field(default=None, compare=False, repr=False)

    @property
    def masked(self) -> bool:
        """Whether its values stay out of errors, samples and metadata: it is classified, or tagged as personal."""
        if (self.classification or "").strip().lower() not in _OPEN_CLASSES:
            return True
        words = {word for tag in self.tags for word in tag.lower().replace("=", ":").split(":")}
        return not words.isdisjoint(_PERSONAL_TAGS)

    def to_dict(self) -> dict[str, Any]:
        """The column as JSON values, what it does not say left out."""
        found: dict[str, Any] = {"name": self.name, "type": self.type}
        for key in ("required", "unique", "primary_key", "description", "classification"):
            if value := getattr(self, key):
                found[key] = value
        if self.tags:
            found["tags"] = list(self.tags)
        return found


@dataclass(frozen=True)
class Limit:
    """How many rows may break a rule (or, for row_count, how many rows there must be). unit: "rows" or "percent"."""

    operator: Literal["=", "<>", ">", ">=", "<", "<=", "between", "not between"]
    value: float
    high: float | None = None
    unit: Literal["rows", "percent"] = "rows"

    def holds(self, rows: int, total: int) -> bool:
        """rows: those counted. total: all that were checked."""
        found = rows * 100 / total if self.unit == "percent" and total else float(rows)
        high = self.value if self.high is None else self.high
        return {
            "=": found == self.value,
            "<>": found != self.value,
            ">": found > self.value,
            ">=": found >= self.value,
            "<": found < self.value,
            "<=": found <= self.value,
            "between": self.value <= found <= high,
            "not between": not self.value <= found <= high,
        }[self.operator]

    def __str__(self) -> str:
        value = f"{self.value:g}" if self.high is None else f"{self.value:g} and {self.high:g}"
        return f"{self.operator} {value}{' %' if self.unit == 'percent' else ''}"


@dataclass(frozen=True)
class Rule:
    """One thing that is checked.

    name: unique in the contract, stable, letters, digits and `_` alone. description: as SQL would say it (`amount >= 0`).
    severity: "warn" counts violations, whatever the job's on_violation says. says_severity: the contract itself names it.
    parameters: of this kind of rule.
    limit: the rule is judged at the end of the run by how many rows it counted; None judges each row by itself.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    description: str
    severity: Severity = "error"
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    limit: Limit | None = None
    location: Location | None = field(default=None, compare=False, repr=False)
    says_severity: bool = False


@dataclass(frozen=True)
class RuleResult:
    """A rule over one run. checked, violations: rows. sample: up to 5 of {split, row, column, value}, row from 1 within the
    split, value as text and masked where the column is classified.
    """

    rule: Rule
    checked: int
    violations: int
    passed: bool
    sample: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Contract:
    """What the rows of a job must be. notes: what the file says that is not checked here, for a person.
    file: relative to the project's folder.
    """

    name: str
    version: str = "1.0"
    description: str | None = None
    columns: tuple[Column, ...] = ()
    rules: tuple[Rule, ...] = ()
    on_violation: OnViolation = "fail"
    notes: tuple[str, ...] = ()
    format: Literal["inline", "odcs", "asset"] = "inline"
    file: str | None = None

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns that identify a row, in the key's order; () where none are declared."""
        return next((rule.columns for rule in self.rules if rule.kind == "primary_key"), ())

    @property
    def keys(self) -> tuple[Rule, ...]:
        """The rules by which a row is judged by the rows before it."""
        return tuple(rule for rule in self.rules if rule.kind in ("unique", "primary_key"))

    def column(self, name: str) -> Column:
        """The column of that name. Raises: KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def stops(self, rule: Rule) -> bool:
        """Whether a row that breaks the rule does not land. One that fits no declared type never does."""
        if rule.kind == "types":
            return True
        return rule.limit is None and rule.severity == "error" and self.on_violation != "warn"

    def schema(self) -> pa.Schema:
        """The declared columns, in order; every field nullable, since rows of a rule that only warns land too."""
        import pyarrow as pa
        from dativo_plugin_sdk.arrow import parse_type

        return pa.schema([(column.name, parse_type(column.type)) for column in self.columns])
