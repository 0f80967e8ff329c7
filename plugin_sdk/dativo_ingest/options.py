"""The options of older plugins: any, for they check them themselves."""

from dativo_plugin_sdk.options import Options
from pydantic import ConfigDict


class AnyOptions(Options):
    """Takes whatever a job says."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)
