"""What the documents refer to exists: files, modules, pages, headings, commands and options."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from fxsr.benchmarks.__main__ import app as benchmarks
from fxsr.cli.app import app
from tests.support import ROOT

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "fxsr/weights").glob("*.md")])
FOLDERS = "fxsr|export|runtime|training|benchmarks|docs|tests|scripts|samples"
APPS = {"fxsr": typer.main.get_command(app), "python -m fxsr.benchmarks": typer.main.get_command(benchmarks)}
MODULE = re.compile(r"`(fxsr(?:\.\w+)+)`")
PATH = re.compile(rf"(?<![\w/.])((?:{FOLDERS})/[\w./-]+)")


def prose(document: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines outside of blocks of code, whose commands write files that are not there before."""
    inside = False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, re.sub(r"`(?:python|fxsr|pip|docker|torchrun) [^`]*`", "", line)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and GitLab make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(document: Path) -> None:
    missing = []
    for number, line in prose(document):
        for quoted in re.findall(r"`([^`]*)`", line):
            missing += [f"{number}: {path}" for path in PATH.findall(quoted) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_or_name_in_one_exists(document: Path) -> None:
    for _, line in prose(document):
        for dotted in MODULE.findall(line):
            module, rest = dotted, list[str]()
            while True:
                try:
                    found = importlib.import_module(module)
                    break
                except ModuleNotFoundError:
                    module, _, name = module.rpartition(".")
                    rest.insert(0, name)
            for name in rest:
                found = getattr(found, name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_within_the_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = document.parent / name if name else document
        assert page.exists(), target
        if anchor:
            assert anchor in {slug(line.lstrip("# ")) for line in page.read_text().splitlines() if line[:1] == "#"}, (
                target
            )


def test_the_architecture_names_files_of_every_part() -> None:
    named = {path for _, line in prose(ROOT / "docs/architecture.md") for path in PATH.findall(line)}
    assert len(named) > 40
    assert {path.partition("/")[0] for path in named} >= {"fxsr", "export", "runtime"}


def test_every_document_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            targets = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
            waiting += [(page.parent / target).resolve() for target in targets if "://" not in target]
    assert {path for path in DOCUMENTS if path.parent == ROOT / "docs"} <= seen


def shown_commands(text: str) -> Iterator[tuple[Any, list[str]]]:
    """The application and the words of each command in a document, without comments and pipes."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    for line in lines + re.findall(
        r"`([^`]*)`", re.sub(r"\n", " ", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    ):
        for start, command in APPS.items():
            if line.startswith(start + " "):
                yield command, shlex.split(re.split(r"\s[#<>|]", line[len(start) :])[0].replace("...", ""))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_options_exist(document: Path) -> None:
    unknown = []
    for command, words in shown_commands(document.read_text(encoding="utf-8")):
        while words and (inner := getattr(command, "commands", {}).get(words[0])):
            command, words = inner, words[1:]
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
        unknown += [
            (command.name, word)
            for word in words
            if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options
        ]
        if hasattr(command, "commands") and words and not words[0].startswith("-"):
            unknown.append((command.name, words[0]))
    assert unknown == []


def test_the_documents_show_most_commands() -> None:
    shown = {
        words[0]
        for path in DOCUMENTS
        for command, words in shown_commands(path.read_text())
        if words and command is APPS["fxsr"]
    }
    assert shown >= {
        "run",
        "tmap",
        "export",
        "verify",
        "bench",
        "eval",
        "train",
        "serve",
        "ui",
        "info",
        "models",
        "doctor",
    }
