"""What a program reads: one strict JSON document whatever happens. What older command lines say still works."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

JOB = "source: {reader: csv, files: [a.csv]}\ntarget: {writer: parquet, path: 'out/{name}'}\n"


def refuse(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nobody"],
        ["run", "broken"],
        ["run", "nobody", "--project", "/nowhere"],
        ["run", "--project", "/nowhere"],
        ["run", "--job-dir", "nowhere"],
        ["run", "--bogus"],
        ["run", "--memory", "1x"],
        ["validate", "--project", "/nowhere"],
        ["check", "nobody"],
        ["discover"],
        ["discover", "nobody"],
        ["preview", "broken"],
        ["plan", "nobody"],
        ["plugins", "--project", "/nowhere"],
        ["schema", "--project", "/nowhere"],
        ["state", "show", "nobody"],
        ["materialize", "nobody"],
        ["init", "."],
        ["completion", "tcsh"],
        ["valdate"],
    ],
    ids=" ".join,
)
def test_an_error_is_json_too(shell: Any, arguments: list[str]) -> None:
    shell.write("jobs/broken.yaml", JOB + "colour: red\n")
    said = shell(*arguments, "--json")
    assert said.code == 2
    told = json.loads(said.out, parse_constant=refuse)
    found = told if isinstance(told, list) else [told]
    assert all(item.get("error") or item.get("error_code") for item in found), told
    assert said.err or arguments[0] in ("check", "validate")


def test_jobs_that_never_ran_are_objects_of_the_array(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/good.yaml", JOB)
    shell.write("jobs/broken.yaml", JOB + "colour: red\n")
    said = shell("run", "good", "broken", "nobody", "--json")
    assert said.code == 1
    assert {item["job"]: item["status"] for item in said.json} == {
        "good": "succeeded",
        "broken": "failed",
        "nobody": "failed",
    }


def test_values_that_json_lacks(shell: Any) -> None:
    shell.write("a.csv", "v,d\nNaN,2024-02-29\ninf,2024-03-01\n1.5,2024-03-02\n")
    shell.write("jobs/odd.yaml", JOB)
    told = json.loads(shell("preview", "odd", "--json").out, parse_constant=refuse)
    assert told["rows"][0] == {"v": "nan", "d": "2024-02-29"}
    assert [row["v"] for row in told["rows"]] == ["nan", "inf", 1.5]


def test_a_table_shows_control_characters_as_escapes(shell: Any) -> None:
    shell.write("a.csv", b'a\n\x1b[2Jgone\n"two\nlines"\n' + b"x" * 500 + b"\n")
    shell.write("jobs/odd.yaml", JOB)
    said = shell("preview", "odd")
    assert "\x1b" not in said.out and "\\x1b[2Jgone" in said.out and "two\\nlines" in said.out
    assert "x" * 500 in said.out, "not folded where no terminal is"


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_jobs_does_not_mean_all_jobs(shell: Any, folder: str) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/good.yaml", JOB)
    (shell.root / "empty").mkdir()
    said = shell("run", "--job-dir", folder)
    assert (said.code, "no job file" in said.err) == (2, True)
    assert not (shell.root / "out").exists()


def test_a_tenant_without_jobs_is_an_error(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/good.yaml", JOB)
    said = shell("run", "--tenant-id", "acme")
    assert (said.code, "acme" in said.err) == (2, True)


def test_older_ways_to_name_jobs(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/good.yaml", JOB)
    assert shell("run", "--config", "jobs/good.yaml").code == 0
    assert [item["job"] for item in shell("run", "--job-dir", "jobs", "--json").json] == ["good"]
    assert shell("check", "--config", "jobs/good.yaml", "--verbose").code == 0
    assert shell("discover", "--config", "jobs/good.yaml", "--json").json["objects"]


def test_secrets_from_a_folder_are_used_and_never_shown(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("s3cr3t-folder/a.csv", "a\n2\n")
    shell.write("jobs/good.yaml", JOB.replace("a.csv", "'${FOLDER}/b.csv'") + "tags: {tier: gold}\n")
    shell.write("secrets/FOLDER", "s3cr3t-folder\n")
    said = shell("run", "good", "--secrets-dir", "secrets", "--no-retry")
    assert said.code == 2 and "b.csv" in said.err
    assert "s3cr3t-folder" not in said.out + said.err
    shell.write("s3cr3t-folder/b.csv", "a\n2\n")
    assert shell("run", "good", "--secrets-dir", "secrets", "--secret-manager", "filesystem").code == 0
    shell.write("secrets/FOLDER", "nowhere")
    shell.write("secrets/acme/.env", '# of this tenant\nFOLDER="s3cr3t-folder"\n')
    assert shell("run", "good", "--secrets-dir", "secrets").code == 2
    shell.write("jobs/good.yaml", JOB.replace("a.csv", "'${FOLDER}/b.csv'") + "metadata: {tenant_id: acme}\n")
    assert shell("run", "good", "--secrets-dir", "secrets", "--tenant-id", "acme").code == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--secret-manager", "vault"], "vault is not supported"),
        (["--secrets-dir", "nowhere"], "nowhere is no folder"),
        (["--secret-manager", "filesystem"], "--secrets-dir"),
    ],
)
def test_secrets_that_are_nowhere(shell: Any, arguments: list[str], word: str) -> None:
    shell.write("jobs/good.yaml", JOB)
    said = shell("run", "good", *arguments)
    assert (said.code, word in said.err, "hint:" in said.err) == (2, True, True)


def test_an_upstream_job_that_is_broken_skips_what_depends_on_it(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    shell.write("jobs/up.yaml", JOB + "colour: red\n")
    shell.write("jobs/down.yaml", JOB + "depends_on: [up]\n")
    said = shell("run", "--json")
    assert said.code == 2
    down = next(item for item in said.json if item["job"] == "down")
    assert "up" in down["error"]["message"]


def test_standard_output_that_is_full(shell: Any) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            shell.command("plugins", "--json"), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert "OUTPUT_FAILED" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_left_is_not_told_that_all_is_done(shell: Any) -> None:
    shell.write("a.csv", "a\n1\n")
    for name in ("one", "two"):
        shell.write(f"jobs/{name}.yaml", JOB)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        shell.command("run"), cwd=shell.root, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
