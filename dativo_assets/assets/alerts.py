"""Asset checks that tell of a job's failure, lag and unusual volume: whatever alerts on checks alerts on these."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dativo_assets.config.timing import Alerts, VolumeAlert

from .execute import Compute

FAILURE, LAG, VOLUME = "alert_failure", "alert_lag", "alert_volume"
_ROWS = "rows_written"
_LEAST_RUNS = 3


def alert_specs(key: dg.AssetKey, alerts: Alerts | None) -> list[dg.AssetCheckSpec]:
    """The checks of an asset; none of them blocks what is downstream."""
    if alerts is None:
        return []
    wanted = {
        FAILURE: "The last run succeeded" if alerts.failure else None,
        LAG: f"A run succeeded within {alerts.lag_s:g} s" if alerts.lag_s is not None else None,
        VOLUME: f"A run writes about as many rows as the {alerts.volume.runs} before" if alerts.volume else None,
    }
    return [dg.AssetCheckSpec(name, asset=key, description=said) for name, said in wanted.items() if said is not None]


@dataclass(frozen=True)
class AlertChecks:
    """The checks of one step. outputs: {asset: {check: output}}."""

    alerts: Alerts
    outputs: Mapping[dg.AssetKey, Mapping[str, str]]

    def around(self, events: Iterator[Any], instance: dg.DagsterInstance) -> Iterator[Any]:
        """The events of a step, and after them what the checks say. An error goes on after `alert_failure` told of it."""
        written: dict[dg.AssetKey, int | None] = {}
        try:
            for event in events:
                if isinstance(event, (dg.MaterializeResult, dg.AssetObservation)):
                    # A result that names no asset is that of the only one.
                    key = event.asset_key or next(iter(self.outputs))
                    if key in self.outputs:
                        written[key] = _rows(event) if isinstance(event, dg.MaterializeResult) else None
                yield event
        except Exception as error:
            for key in self.outputs:
                if key not in written and FAILURE in self.outputs[key]:
                    yield _failed(key, error)
            raise
        for key, outputs in self.outputs.items():
            for name, output in outputs.items():
                rows = written.get(key)
                if name == VOLUME and self.alerts.volume is not None:
                    found = None if rows is None else _volume(key, rows, self.alerts.volume, instance)
                    yield dg.Output(None, output) if found is None else found
                else:
                    yield dg.AssetCheckResult(passed=True, asset_key=key, check_name=name)


def with_alerts(compute: Compute, alerts: Alerts, outputs: Mapping[str, tuple[dg.AssetKey, dict[str, str]]]) -> Compute:
    """The body of a step with its checks told after it. outputs: {output of an asset: its key, and the outputs of its checks}."""

    def watched(context: dg.AssetExecutionContext, inputs: Any) -> Iterator[Any]:
        wanted = context.op_execution_context.selected_output_names
        checks = AlertChecks(alerts, dict(own for output, own in outputs.items() if output in wanted))
        yield from checks.around(compute(context, inputs), context.instance)

    return watched


def _rows(event: Any) -> int | None:
    value = (event.metadata or {}).get(_ROWS)
    value = getattr(value, "value", value)
    return value if isinstance(value, int) else None


def _failed(key: dg.AssetKey, error: Exception) -> dg.AssetCheckResult:
    said = error.description if isinstance(error, dg.Failure) else f"{type(error).__name__}: {error}"
    metadata = dict(error.metadata) if isinstance(error, dg.Failure) else {}
    return dg.AssetCheckResult(
        passed=False,
        asset_key=key,
        check_name=FAILURE,
        severity=dg.AssetCheckSeverity.ERROR,
        description=said,
        metadata=metadata,
    )


def _volume(
    key: dg.AssetKey, rows: int, wanted: VolumeAlert, instance: dg.DagsterInstance
) -> dg.AssetCheckResult | None:
    """None while there is too little to compare with. This run's own materialization may be recorded already, or not yet."""
    records = instance.fetch_materializations(key, limit=wanted.runs).records
    before = [found for record in records if (found := _rows(record.asset_materialization)) is not None]
    if len(before) < _LEAST_RUNS:
        return None
    usual = sorted(before)[len(before) // 2]
    passed = rows <= wanted.factor * max(usual, 1) and rows * wanted.factor >= usual
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=key,
        check_name=VOLUME,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{rows:,} rows, where {usual:,.0f} are usual",
        metadata={"rows_written": rows, "usual": float(usual), "runs": len(before)},
    )
