"""verify(contract, root): what loading leaves out for speed. Needs Arrow, and the official package where it is installed."""

from __future__ import annotations

from pathlib import Path

from dativo_assets.config.yaml import load_file
from dativo_assets.errors import ConfigurationError, ConfigurationErrors

from .model import Contract
from .node import Node

_NOT_INSTALLED = (
    "not compared with the standard's own model: install the extra `odcs` (pip install 'dativo-assets[odcs]') for that"
)


def verify(contract: Contract, root: Path) -> tuple[str, ...]:
    """Bind every rule to its column's type, and let the official package judge a file of the standard.

    root: the project's folder. Returns what is not checked, for a person: `contract.notes`, and a line when the package is
    not installed.

    Raises: ConfigurationError: at its line, for a rule, a pattern or a bound that can't work.
    """
    from .binding import Binding

    Binding(contract, contract.schema(), "none")
    if contract.format != "odcs" or contract.file is None:
        return contract.notes
    try:
        from open_data_contract_standard.model import OpenDataContractStandard
    except ImportError:
        return (*contract.notes, f"{contract.file}: {_NOT_INSTALLED}")
    from pydantic import ValidationError

    document = load_file(root / contract.file, shown=contract.file)
    try:
        OpenDataContractStandard.model_validate(document.value)
    except ValidationError as error:
        raise ConfigurationErrors.of(
            _located(Node(document, document.value), item["loc"], item["msg"])
            for item in error.errors(include_url=False, include_input=False)
        ) from None
    return contract.notes


def _located(node: Node, path: tuple[str | int, ...], message: str) -> ConfigurationError:
    """The error at the deepest step of the path that the file has; a union's branches are steps that no file has."""
    for step in path:
        holder = node.value
        if not (
            step in holder if isinstance(holder, dict) else isinstance(holder, list) and step in range(len(holder))
        ):
            break
        node = Node(node.document, holder[step], (*node.path, step))
    return node.error(f"not as the Open Data Contract Standard has it: {message}")
