"""What the documents refer to exists: files, modules, pages and headings."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "fxsr/weights").glob("*.md")])
FOLDERS = "fxsr|export|runtime|training|benchmarks|docs|tests|scripts|samples"
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
