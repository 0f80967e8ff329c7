"""A plugin in a process of its own: what its child runs. The host's side is `dativo_assets.isolation`."""
