"""Every code block of the documents runs, in order, in a folder of its own.

A block that follows a line ending in "`path`:" is written to that path. Other Python blocks run as a script; Bash blocks
run line by line, and `# exit N` after a command is the exit code it must end with. A text block shows lines of what the commands
of the Bash block before it printed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/explanation/plugin-security.md",
    "docs/tutorial.md",
    "docs/how-to/build-into-dagster.md",
    "docs/how-to/fast-plugins.md",
    "docs/how-to/first-plugin-python.md",
    "docs/how-to/follow-lineage.md",
    "docs/how-to/keep-a-parquet-table.md",
    "docs/how-to/load-a-database.md",
    "docs/how-to/load-a-lakehouse.md",
    "docs/how-to/load-incrementally.md",
    "docs/how-to/operate.md",
    "docs/how-to/publish-a-plugin.md",
    "docs/how-to/load-partitions.md",
    "docs/how-to/load-several-tables.md",
    "docs/how-to/move-from-dativo-ingest.md",
    "docs/how-to/read-any-csv.md",
    "docs/how-to/test-a-plugin.md",
    "plugin_sdk/README.md",
)
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`([\w./-]+\.\w+)`[^`\n]*:$")
_EXIT = re.compile(r"\s+# exit (\d+)$")
# They set up or build, or run until they are stopped: other tests run what they stand for.
LEFT_OUT = ("make ", "pip ", "uv ", "python -m venv", "source ", "DAGSTER_HOME=$PWD/.dagster dagster dev")
RUN = ("dativo ", "mkdir ", "cd ", "cat ", "DAGSTER_HOME=$PWD/.dagster dativo ")


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    path: str | None
    line: int


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        paragraph = text[: match.start()].rstrip("\n").rpartition("\n\n")[2].replace("\n", " ")
        path = _PATH.search(paragraph)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2], path[1] if path else None, line))
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_in_order(page: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PWD": str(tmp_path),
        "CATALOG_TOKEN": "hush-hush",
    }
    environment.pop("DATIVO_PROJECT", None)
    environment.pop("DAGSTER_HOME", None)
    ran, printed = 0, ""
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.path is not None:
            target = tmp_path / block.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            _run([sys.executable, "-c", block.text], 0, where, tmp_path, environment)
        elif block.language == "bash":
            printed = ""
            for line in filter(None, map(str.strip, block.text.splitlines())):
                if line.startswith(LEFT_OUT):
                    continue
                assert line.startswith(RUN), f"{where}: no test runs `{line}`"
                code = _EXIT.search(line)
                printed += _run(["bash", "-c", line], int(code[1]) if code else 0, where, tmp_path, environment)
        elif block.language == "text":
            for line in filter(None, map(_squeezed, block.text.splitlines())):
                assert line in _squeezed(printed), f"{where}: not printed: {line}\n{printed}"
        else:
            assert block.language == "toml", f"{where}: a {block.language} block that nothing runs"
        ran += 1
    assert ran, f"{page} has no code block"


def _squeezed(text: str) -> str:
    """Lines may be wrapped to the terminal's width."""
    return " ".join(text.split())


def _run(argv: list[str], code: int, where: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{where}: {argv[-1]}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
