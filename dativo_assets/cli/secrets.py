"""Variables from a folder of secrets, as older command lines name it. Those of the environment win."""

from __future__ import annotations

from pathlib import Path

from dativo_plugin_sdk import ConfigurationError

MANAGERS = ["env", "filesystem", "vault", "aws", "gcp"]


def secrets_of(name: str | None, folder: str | None, tenant: str | None) -> dict[str, str]:
    """The variables below a folder, its tenant's folder included: a file each, or lines `NAME=value` of a `.env` file.

    Raises: ConfigurationError: for a store that is not supported, or a folder that is none.
    """
    if name in ("vault", "aws", "gcp"):
        raise ConfigurationError(
            f"--secret-manager {name} is not supported",
            hint="let its own command set environment variables, or write files and name them with --secrets-dir",
        )
    if folder is None:
        if name == "filesystem":
            raise ConfigurationError("--secret-manager filesystem needs --secrets-dir", hint="name the folder")
        return {}
    root = Path(folder)
    if not root.is_dir():
        raise ConfigurationError(f"--secrets-dir {folder} is no folder", hint="name a folder of files, one a secret")
    found: dict[str, str] = {}
    for place in (root, *([root / tenant] if tenant else [])):
        for path in sorted(place.glob("*")) if place.is_dir() else ():
            if path.is_file():
                found.update(_variables(path))
    return found


def _variables(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the secret {path} can't be read: {type(error).__name__}", hint="a secret is a file of UTF-8 text"
        ) from None
    if path.name != ".env" and path.suffix != ".env":
        return {path.stem: text}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
