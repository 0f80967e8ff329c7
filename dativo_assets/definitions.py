"""The code location of a project: the one that DATIVO_PROJECT names, else that of the nearest dativo.yaml."""

from dativo_assets.assets import build_definitions

defs = build_definitions()
