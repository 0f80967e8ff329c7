"""Packages in C, Go and Rust: this project's own examples, which its tests build, under another name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PACKAGED = Path(__file__).parent / "examples"
_EXAMPLES = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "examples"  # a checkout
_CRATES = _EXAMPLES.parent / "rust" / "crates"  # of a checkout
_JOB = ("dativo.yaml", "jobs/$word.yaml")


@dataclass(frozen=True)
class Example:
    """A folder of examples/. word: what its plugin is called there. files: what a package has of it. test: what tests it.
    use: what runs its job after that, where the test does not.
    """

    folder: str
    word: str
    files: tuple[str, ...]
    test: str = "make test"
    setup: str = "pip install dativo-assets"
    use: str = ""

    def texts(self, name: str, module: str) -> dict[str, str]:
        """The package's files: {path: text}."""
        texts = {}
        for file in self.files:
            path = file.replace("$word", self.word)
            text = (_EXAMPLES / self.folder / path).read_text(encoding="utf-8")
            path = path.removeprefix("project/").replace(self.word, module)
            texts[path] = self._renamed(text, name, module)
        use = "".join(f"\n    {line}" for line in self.use.splitlines()).replace("$word", module)
        told = {"NAME": name, "TEST": self.test, "SETUP": self.setup, "MAIN": next(iter(texts)), "USE": use}
        for path, text in _COMMON.items():
            texts[path] = re.sub("|".join(told), lambda found: told[found[0]], text)
        return texts

    def _renamed(self, text: str, name: str, module: str) -> str:
        word = self.word
        symbol = rf"(?:(?<=\.so:)|(?<=plugin \*)|(?:(?<=reader )|(?<=file_format ))(?=\w+ =)){word}\b"
        text = re.sub(symbol, f"{module}_plugin", text)
        text = text.replace(f"dativo-{word}", f"dativo-{name}").replace(f"dativo_{word}", f"dativo_{module}")
        quoted = r'(?<=(?<!EXTENSION: &\'static str = )")'
        before = rf"^|(?<=lib)|(?<=run )|(?<=reader: )|(?<=writer: )|{quoted}|(?<=com/)|(?<= )(?=\w+\.(?:c|go)\b)"
        names = rf"(?:{before}){word}\b"
        text = re.sub(names, module, text, flags=re.MULTILINE)
        text = re.sub(rf"\b{word.title()}\b", "".join(part.title() for part in module.split("_")), text)
        # In a checkout the crates are those beside it, which may be newer than what is published.
        here = rf'{{ path = "{_CRATES.as_posix()}/\1", version = "0.1"' if _CRATES.is_dir() else '{ version = "0.1"'
        return re.sub(r'\{ path = "\.\./\.\./rust/crates/([\w-]+)"', here, text)


_COMMON = {
    ".gitignore": "*.so\n*.dylib\nlib*.h\ntarget/\nwarehouse/\n.dativo/\n",
    ".github/workflows/test.yml": """\
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: "3.13"}
      - run: SETUP
      - run: TEST
""",
    "README.md": """\
# NAME

A plugin for [Dativo](https://pypi.org/project/dativo-assets/). What it does is in `MAIN`: replace it by what yours does.

    SETUP
    TESTUSE
""",
}

EXAMPLES: dict[tuple[str, str], Example] = {
    ("reader", "c"): Example("c_reader", "squares", ("$word.c", "Makefile", *_JOB)),
    ("writer", "c"): Example(
        "c_writer", "lines", ("$word.c", "Makefile", "dativo.yaml", "jobs/cities.yaml", "input/cities.csv")
    ),
    ("reader", "go"): Example(
        "go_reader", "squares", ("$word.go", "bridge.go", "table.c", "table.h", "go.mod", "Makefile", *_JOB)
    ),
    ("reader", "rust"): Example(
        "rust_plugin",
        "squares",
        (
            "src/lib.rs",
            "src/cubes.rs",
            "Cargo.toml",
            "pyproject.toml",
            "project/dativo.yaml",
            "project/jobs/$word.yaml",
        ),
        test="cargo test",
        setup="pip install dativo-assets maturin",
        use="pip install . && dativo run $word",
    ),
    ("writer", "rust"): Example(
        "rust_writer",
        "tsv",
        (
            "src/lib.rs",
            "Cargo.toml",
            "pyproject.toml",
            "project/dativo.yaml",
            "project/jobs/readings.yaml",
            "project/plugins/readings.py",
        ),
        test="cargo test",
        setup="pip install dativo-assets maturin",
        use="pip install . && dativo run readings",
    ),
}
