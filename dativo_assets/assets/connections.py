"""Connections of dativo.yaml that a Dagster resource gives: its fields are the connection's keys."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg
from dagster._config.field_utils import IntEnvVar
from pydantic import BaseModel

from dativo_assets.config import JobConfig, Project, nearest
from dativo_assets.errors import ConfigurationError

GivenConnection: TypeAlias = "str | dg.ConfigurableResource[Any] | Mapping[str, Any]"


@dataclass(frozen=True)
class Connections:
    """Where connections come from.

    keys: {connection: the key of a resource}. resources: those of them that come along. written: {connection: its keys}.
    """

    keys: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    written: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, given: Mapping[str, GivenConnection]) -> "Connections":
        """given: a connection's name to the key of a resource, to a resource, or to keys whose values may be EnvVars."""
        keys: dict[str, str] = {}
        resources: dict[str, Any] = {}
        written: dict[str, Mapping[str, Any]] = {}
        for name, value in given.items():
            if isinstance(value, str):
                keys[name] = value
            elif isinstance(value, Mapping):
                written[name] = {key: _reference(inner) for key, inner in value.items()}
            else:
                keys[name] = f"dativo_{name}"
                resources[keys[name]] = value
        return cls(keys, resources, written)

    def check(self, project: Project) -> None:
        """Raises: ConfigurationError: for a connection that dativo.yaml does not have."""
        known = project.config.connections
        for name in (*self.keys, *self.written):
            if name not in known:
                guess = nearest(name, known)
                hint = (
                    f"did you mean `{guess}`?" if guess else f"declare it in dativo.yaml: connections: {{{name}: {{}}}}"
                )
                raise ConfigurationError(f"no connection named `{name}`", hint=hint)

    def resource_keys(self, jobs: Iterable[JobConfig]) -> set[str]:
        """The resources that runs of the jobs need."""
        given = (text for job in jobs for text in (job.source.connection, job.target.connection, job.target.catalog))
        named = {text for text in given if isinstance(text, str)}
        return {key for name, key in self.keys.items() if name in named}

    def given(self, project: Project, resources: Any) -> Project:
        """The project as its connections are now. resources: of a context, those that `resource_keys` names."""
        there = {name: getattr(resources, key) for name, key in self.keys.items() if hasattr(resources, key)}
        found = {**self.written, **{name: _fields(self.keys[name], value) for name, value in there.items()}}
        return project.with_connections(found) if found else project


def _reference(value: Any) -> Any:
    """An EnvVar as the reference that a run resolves and whose value it masks."""
    return f"${{{value.env_var_name}}}" if isinstance(value, (dg.EnvVar, IntEnvVar)) else _literal(value)


def _fields(key: str, resource: Any) -> dict[str, Any]:
    if isinstance(resource, BaseModel):
        resource = {name: getattr(resource, name) for name in type(resource).model_fields}
    if not isinstance(resource, Mapping):
        raise ConfigurationError(
            f"the resource `{key}` is a {type(resource).__name__}, which has no keys of a connection",
            hint="give a ConfigurableResource whose fields are the connection's keys, or a resource that returns a dict",
        )
    return {name: _literal(value) for name, value in resource.items() if value is not None}


def _literal(value: Any) -> Any:
    """The value as dativo.yaml would have to write it: nothing in it is a reference."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {str(name): _literal(inner) for name, inner in value.items()}
    return [_literal(inner) for inner in value] if isinstance(value, (list, tuple)) else value
