"""The code location of a project: the one that DATIVO_PROJECT names, else that of the nearest dativo.yaml."""

from dativo_assets.assets.location import code_location

defs = code_location()
