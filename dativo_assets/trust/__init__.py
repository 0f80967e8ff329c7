"""Which plugins a project may use: those that dativo.yaml allows, as dativo.lock has seen them."""
