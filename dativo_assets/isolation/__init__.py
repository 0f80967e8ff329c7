"""Plugins in processes of their own: a reference whose plugin is never imported here, and dies without harm."""
