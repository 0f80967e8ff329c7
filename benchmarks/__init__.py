"""Timings side by side with peers: `python -m benchmarks [--quick] [--rows N]`."""
