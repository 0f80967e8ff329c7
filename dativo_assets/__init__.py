"""Dativo: a job is a YAML file, and a job is an asset."""

__version__ = "0.1.0"
