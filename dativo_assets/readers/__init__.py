"""The built-in readers, one file each. Each imports the SDK alone, so each is a model for a plugin author."""
