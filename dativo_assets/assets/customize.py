"""What a team may change of how jobs become assets: the same seams for the component and for plain Python."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg
from dagster.components.resolved.core_models import OpSpec

from dativo_assets.errors import ConfigurationError

from .connections import Connections
from .execute import JobAsset
from .translate import AssetData, asset_spec, op_name

Translation: TypeAlias = Callable[[dg.AssetSpec, AssetData], dg.AssetSpec]
Execution: TypeAlias = Callable[[dg.AssetExecutionContext, JobAsset], Iterator[Any]]


def execute(context: dg.AssetExecutionContext, asset: JobAsset) -> Iterator[Any]:
    """Run the job of an asset.

    Yields: check results and a MaterializeResult; an observation alone when nothing is new.
    Raises: dg.Failure: when the run failed; nothing is recorded as materialized then.
    """
    yield from asset.execute(context)


def translated(translation: Translation | None) -> Callable[[AssetData], dg.AssetSpec]:
    """How a spec is made: as Dativo does it, then changed by the translation."""
    if translation is None:
        return asset_spec
    return lambda data: translation(asset_spec(data), data)


@dataclass(frozen=True)
class Customization:
    """get_asset_spec: a job's spec. execute: the body of its step. op: what the steps are beside that."""

    get_asset_spec: Callable[[AssetData], dg.AssetSpec] = asset_spec
    execute: Execution = execute
    op: OpSpec = field(default_factory=OpSpec)
    connections: Connections = field(default_factory=Connections)

    @property
    def translates(self) -> bool:
        """Whether specs may be others than those that Dativo makes."""
        return self.get_asset_spec is not asset_spec

    def spec(self, data: AssetData) -> dg.AssetSpec:
        """A job's spec. Raises: ConfigurationError: when the team's own code or template fails on this job."""
        if not self.translates:
            return asset_spec(data)
        try:
            return self.get_asset_spec(data)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            said = lines[-1] if len(lines) > 1 else f"{type(error).__name__}: {lines[0]}"
            hint = f"look at {lines[0]}" if len(lines) > 1 else "look at `translation` or `get_asset_spec`"
            raise ConfigurationError(f"job {data.job.name} can't be translated: {said}", hint=hint) from error

    def op_name(self, key: dg.AssetKey, alone: bool) -> str:
        """The name of an asset's op. alone: it is the project's only one."""
        if self.op.name is None:
            return op_name(key)
        return self.op.name if alone else f"{self.op.name}__{op_name(key)}"
