"""One sensor that tells of lag: it fails and mends the check `alert_lag` of assets, and starts nothing."""

import json
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

NAME = "dativo_alerts"
_INTERVAL_S = 60


def alert_sensor(lags: Mapping[dg.AssetKey, float], check: str) -> dg.SensorDefinition:
    """The sensor, running from the start. lags: {asset: seconds without a sound run that are too many}."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _tick(context, lags, check)

    return dg.SensorDefinition(
        name=NAME,
        evaluation_fn=evaluate,
        asset_selection=dg.AssetSelection.assets(*lags),
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells when {len(lags)} assets lag, by their check {check}; it starts no run.",
    )


def _tick(context: dg.SensorEvaluationContext, lags: Mapping[dg.AssetKey, float], check: str) -> dg.SensorResult:
    """The cursor is when the first tick was, and who was late in the last one: a change is told once."""
    now = time.time()
    kept: dict[str, Any] = json.loads(context.cursor) if context.cursor else {"since": now, "late": []}
    ages = {key: now - sound for key, sound in _last_sound(context.instance, lags, kept["since"], now).items()}
    late = {key.to_user_string() for key, age in ages.items() if age > lags[key]}
    changed = late ^ set(kept["late"])
    events = [_evaluation(key, check, age, lags[key]) for key, age in ages.items() if key.to_user_string() in changed]
    return dg.SensorResult(
        asset_events=events,
        cursor=json.dumps({"since": kept["since"], "late": sorted(late)}),
        skip_reason=f"{len(late)} of {len(lags)} lag" + (f": {', '.join(sorted(late)[:20])}" if late else ""),
    )


def _last_sound(
    instance: dg.DagsterInstance, lags: Mapping[dg.AssetKey, float], since: float, now: float
) -> dict[dg.AssetKey, float]:
    """When each asset was last materialized, or observed without anything new; `since` for one that never was."""
    found = dict.fromkeys(lags, since)
    for record in instance.get_asset_records(list(lags)):
        entry = record.asset_entry
        if entry.last_materialization is not None:
            found[entry.asset_key] = entry.last_materialization.timestamp
    for key, sound in found.items():
        if now - sound > lags[key]:
            for observed in instance.fetch_observations(key, limit=1).records:
                found[key] = max(sound, observed.timestamp)
    return found


def _evaluation(key: dg.AssetKey, check: str, age_s: float, lag_s: float) -> dg.AssetCheckEvaluation:
    late = age_s > lag_s
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=check,
        passed=not late,
        severity=dg.AssetCheckSeverity.ERROR,
        description=f"No run has succeeded for {age_s:,.0f} s; {lag_s:,.0f} s are allowed"
        if late
        else "Runs succeed again",
        metadata={
            "lag_s": round(age_s, 1),
            "allowed_s": lag_s,
            "hint": "look at the asset's runs and at what triggers it; dativo doctor tells whether the daemon is alive",
        },
    )
