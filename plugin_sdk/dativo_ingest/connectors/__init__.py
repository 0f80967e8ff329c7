"""Readers by their older imports."""
