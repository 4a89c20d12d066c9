"""What `Dockerfile` and `deploy/` hold: checked, and done in a fresh environment, since nothing here builds images."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.serving import accepts
from tests.support import ROOT, ended, wait_until

DEPLOY = ROOT / "deploy"
VENV = "/opt/fxsr"
TOKEN = "a-token-for-clients"


@dataclass(frozen=True)
class Stage:
    """A stage of the Dockerfile."""

    base: str
    steps: list[tuple[str, str]]
    """Instructions and their values."""

    def all(self, instruction: str) -> list[str]:
        return [value for name, value in self.steps if name == instruction]


def read_stages() -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    steps: list[tuple[str, str]] = []
    for step in DockerfileParser(path=str(ROOT / "Dockerfile")).structure:
        if step["instruction"] == "FROM":
            base, _, name = step["value"].split()
            steps = []
            stages[name] = Stage(base, steps)
        elif step["instruction"] != "COMMENT":
            steps.append((step["instruction"], step["value"]))
    return stages


STAGES = read_stages()


def lineage(name: str) -> Iterator[Stage]:
    """A stage, and those that it is made from."""
    while name in STAGES:
        yield STAGES[name]
        name = STAGES[name].base


def last(target: str, instruction: str) -> str:
    """The instruction that counts for a target."""
    return next(stage.all(instruction)[-1] for stage in lineage(target) if stage.all(instruction))


def test_the_last_target_is_the_cpu() -> None:
    assert {"cpu", "gpu"} < STAGES.keys()
    assert list(STAGES)[-1] == "cpu"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_holds_what_is_installed_and_nothing_else(target: str) -> None:
    steps = [step for stage in lineage(target) for step in stage.steps]
    copies = [value for name, value in steps if name in ("COPY", "ADD")]
    assert not [value for name, value in steps if name == "RUN"]
    assert set(copies) == {
        f"--from=packages-{target} {VENV} {VENV}",
        "--from=sources --chown=10001:10001 /cache /cache",
    }


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_as_nobody_special_and_tells_its_health(target: str) -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last(target, "USER"))
    assert last(target, "STOPSIGNAL") == "SIGTERM"
    assert " CMD " in last(target, "HEALTHCHECK")
    assert json.loads(last(target, "ENTRYPOINT")) == ["fxsr"]
    assert last(target, "EXPOSE") == "8000"


def test_images_are_made_from_one_stated_version_of_python() -> None:
    bases = {stage.base for stage in STAGES.values()} - STAGES.keys()
    assert bases == {"python:${PYTHON}"}
    assert re.search(r"^ARG PYTHON=3\.\d+-slim-\w+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_packages_have_the_versions_that_were_tested(extra: str) -> None:
    (step,) = STAGES[f"packages-{extra}"].all("RUN")
    assert step.endswith(f'{VENV}/bin/pip install -c constraints.txt ".[{extra},serve]"')


def copy_context(folder: Path) -> None:
    """What `.dockerignore` leaves of the sources."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    left_out = [line for line in lines[1:] if line[0] != "!"]
    assert left_out == ["runtime/native", "**/__pycache__"]
    for name in (line[1:] for line in lines if line[0] == "!"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("native", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, outside: dict[str, str]) -> Path:
    """The environment that the steps of the image for CPUs make, as they stand there."""
    folder = tmp_path_factory.mktemp("image")
    sources, venv, cache = folder / "src", folder / "venv", folder / "cache"
    sources.mkdir()
    copy_context(sources)
    # the image has no compiler
    environment = outside | {"CC": "false", "CXX": "false"}
    for step in [*STAGES["sources"].all("RUN"), *STAGES["packages-cpu"].all("RUN")]:
        command = re.sub(r"^--mount=\S+ ", "", step).replace(VENV, str(venv)).replace("mkdir /cache", f"mkdir {cache}")
        command = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
        done = subprocess.run(command, shell=True, cwd=sources, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return venv / "bin"


@pytest.fixture
def container(installed: Path, outside: dict[str, str], tmp_path: Path) -> Iterator[int]:
    """The port of a server as the compose file starts it."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    port = free_port()
    options = [str(port) if option == "8000" else option for option in compose["services"]["fxsr"]["command"]]
    environment = outside | {"FXSR_TOKEN": TOKEN, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [installed / "fxsr", *options]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with ended(process):
        wait_until(lambda: accepts(port), process)
        yield port
        process.terminate()
        process.communicate(timeout=200)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.timeout(900)  # packages are fetched
def test_the_steps_make_a_server_that_is_healthy_and_that_prometheus_can_read(container: int, installed: Path) -> None:
    check = last("cpu", "HEALTHCHECK").partition(" CMD ")[2]
    python, *arguments = json.loads(check)
    assert python == "python"

    def health(port: int) -> int:
        command = [installed / python, *(each.replace("8000", str(port)) for each in arguments)]
        return subprocess.run(command, capture_output=True).returncode

    wait_until(lambda: health(container) == 0)
    assert health(free_port()) != 0
    (scrape,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = scrape["static_configs"][0]["targets"]
    address, host = f"http://127.0.0.1:{container}{scrape['metrics_path']}", {"Host": target}
    bearer = {"Authorization": f"{scrape['authorization']['type']} {TOKEN}"}
    assert httpx.get(address, headers=host, timeout=200).status_code == 401
    scraped = httpx.get(address, headers=host | bearer, timeout=200)
    assert scraped.status_code == 200
    assert "fxsr_backlog_seconds" in scraped.text
    assert {path.name for path in (installed.parent / "lib").glob("python*/site-packages/*")}.isdisjoint({"torch"})


def test_compose_gives_prometheus_the_token_and_the_server_little_else() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server, prometheus = compose["services"]["fxsr"], compose["services"]["prometheus"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in (*server["ports"], *prometheus["ports"]))
    (scrape,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    (secret,) = prometheus["secrets"]
    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert compose["secrets"][secret] == {"environment": "FXSR_TOKEN"}
    assert "FXSR_TOKEN" in server["environment"]["FXSR_TOKEN"]
    assert not [file for file in mounted_files(prometheus) if not (DEPLOY / file).is_file()]
    named = {volume.partition(":")[0] for service in (server, prometheus) for volume in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == compose["volumes"].keys()
    assert (DEPLOY / server["build"]["context"]).resolve() == ROOT


def mounted_files(service: Mapping[str, Any]) -> list[str]:
    return [volume.partition(":")[0] for volume in service["volumes"] if volume.startswith(".")]


def test_the_gpu_file_changes_the_target_and_asks_for_a_gpu() -> None:
    server = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text())["services"]["fxsr"]
    assert server["build"]["target"] in STAGES
    assert server["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is there."""
    path = tmp_path / "fxsr.service"
    text = (DEPLOY / "fxsr.service").read_text()
    assert f"ExecStart={VENV}/bin/fxsr serve " in text
    path.write_text(text.replace(f"{VENV}/bin/fxsr", "/bin/true"))
    return path


@pytest.mark.parametrize("command", [["verify"], ["security", "--offline=yes", "--threshold=20"]])
def test_the_unit_is_one_that_systemd_finds_good_and_safe(command: list[str], unit: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd here")
    environment = os.environ | {"SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(["systemd-analyze", *command, unit], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [line for line in done.stderr.splitlines() if "fxsr.service" in line]
