# What a person types; the work is in scripts/. Everything stays inside this folder: .venv, .cache, rust/target.
.PHONY: setup demo ui test lint bench soak docs clean

setup: ; @scripts/setup
demo: setup ; @.venv/bin/python examples/flights/demo.py
ui: setup ; @scripts/ui
test: setup ; @scripts/test
lint: setup ; @scripts/lint
bench: ; @scripts/setup --group bench && .venv/bin/python -m benchmarks
soak: setup ; @scripts/soak
docs: setup ; @.venv/bin/python scripts/gen_docs.py
clean: ; @scripts/clean
