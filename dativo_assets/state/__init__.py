"""The commit record and the one step that makes a run visible. The target owns all state; nothing is kept elsewhere."""

from .commit import commit_once, look, new_record, schema_hash

__all__ = ["commit_once", "look", "new_record", "schema_hash"]
