"""The C library as users get it: installed, found by CMake, pkg-config and `fxsr native`, used outside of the clone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fxsr.errors import UnavailableError
from fxsr.export import write_onnx
from fxsr.export.graph.graph import GraphOptions
from fxsr.runtime.embedding import NativeLibrary, find_native, find_onnxruntime
from tests.native import SOURCES, UNITY, build_native, onnxruntime_library, run_program
from tests.support import ROOT, TINY, golden_checkpoint

FUNCTIONS = set(
    re.findall(r"\b(fxsr_\w+)\(", (SOURCES / "include/fxsr.h").read_text().split("FXSR_API int fxsr_abi")[1])
)
FUNCTIONS.add("fxsr_abi")


def block(language: str) -> str:
    """The only block of that language in docs/embedding.md."""
    text = (ROOT / "docs/embedding.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> NativeLibrary:
    """What `cmake --install` writes."""
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", build_native(), "--prefix", folder)
    return NativeLibrary(folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, outside: dict[str, str]) -> NativeLibrary:
    """What `pip install ./runtime/native` writes."""
    if shutil.which("c++") is None:
        pytest.skip("c++ is not installed; on Debian: apt-get install g++")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(SOURCES, folder / "source")
    command: list[str | Path] = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, folder / "source"]
    environment = outside | {"CMAKE_ARGS": " ".join(UNITY)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("fxsr_native-*-py3-none-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return NativeLibrary(folder / "site" / "fxsr_native")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_onnx(golden_checkpoint(TINY, 4), GraphOptions(), path)
    return path


def test_the_library_exports_its_functions_and_nothing_else(prefix: NativeLibrary) -> None:
    library = prefix.folder / "lib" / "libfxsr.so.1"
    symbols = run("nm", "-D", "--defined-only", "--format=posix", library)
    names = {line.split()[0].partition("@")[0] for line in symbols.splitlines()}
    assert names - {"FXSR_1"} == FUNCTIONS
    assert "Library soname: [libfxsr.so.1]" in run("readelf", "-d", library)


def test_the_header_is_plain_c99(prefix: NativeLibrary, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("#include <fxsr.h>\nint main(void) { return fxsr_abi() != FXSR_ABI; }\n")
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run(
        "cc", *strict, *shlex.split(prefix.cflags), tmp_path / "main.c", *shlex.split(prefix.libs), "-o", tmp_path / "m"
    )
    run(tmp_path / "m")


def test_documented_programs_build_outside_and_run(prefix: NativeLibrary, model: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(block("c"))
    run("cc", tmp_path / "main.c", *shlex.split(prefix.cflags), *shlex.split(prefix.libs), "-o", tmp_path / "main")
    assert run_program(tmp_path / "main", model).stdout == "upscaled to 256x256\n"
    (tmp_path / "main.cpp").write_text(block("cpp"))
    (tmp_path / "CMakeLists.txt").write_text(block("cmake"))
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-Dfxsr_DIR={prefix.cmake_dir}")
    run("cmake", "--build", tmp_path / "build")
    assert run_program(tmp_path / "build" / "host", model).stdout == "golden 192x160\n"


def test_documented_commands_build_with_the_installed_package(
    installed: NativeLibrary, model: Path, tmp_path: Path
) -> None:
    for name, language in {"main.c": "c", "main.cpp": "cpp", "CMakeLists.txt": "cmake"}.items():
        (tmp_path / name).write_text(block(language))
    text = (ROOT / "docs/embedding.md").read_text()
    commands = re.findall(r"^(?:cc main\.c|cmake -B build) .*", text, re.MULTILINE)
    assert len(commands) == 2
    fxsr = f'fxsr() {{ {shlex.join([sys.executable, str(ROOT / "cli.py")])} "$@"; }}'
    environment = os.environ | {"PYTHONPATH": str(installed.folder.parent)}
    for command in commands if shutil.which("cmake") else commands[:1]:
        script = f"{fxsr}\n{command}"
        done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert run_program(tmp_path / "main", model).stdout == "upscaled to 256x256\n"
    if shutil.which("cmake"):
        assert run_program(tmp_path / "build" / "host", model).stdout == "golden 192x160\n"


def test_pkg_config_finds_the_library(prefix: NativeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed; on Debian: apt-get install pkg-config")
    monkeypatch.setenv("PKG_CONFIG_PATH", str(prefix.folder / "lib" / "pkgconfig"))
    flags = run("pkg-config", "--cflags", "--libs", "fxsr").split()
    assert [Path(flag[2:]).resolve() for flag in flags[:2]] == [prefix.folder / "include", prefix.folder / "lib"]
    assert flags[2] == "-lfxsr"


def test_onnx_runtime_can_be_linked_instead(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pkg-config finds it here, as on Debian."""
    if shutil.which("pkg-config") is None:
        pytest.skip("pkg-config is not installed; on Debian: apt-get install pkg-config")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / name).symlink_to(onnxruntime_library())
    description = f"Name: onnxruntime\nDescription: x\nVersion: 1.21.0\nLibs: -L{tmp_path} -lonnxruntime\n"
    (tmp_path / "libonnxruntime.pc").write_text(description)
    monkeypatch.setenv("PKG_CONFIG_PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    settings = ["-DFXSR_LINK_ONNXRUNTIME=ON", "-DCMAKE_DISABLE_FIND_PACKAGE_onnxruntime=ON", *UNITY]
    build_native()  # skips where it can't be built
    run("cmake", "-S", SOURCES, "-B", tmp_path / "build", *settings)
    run("cmake", "--build", tmp_path / "build", "--parallel", "2", "--target", "upscale_ppm")
    (tmp_path / "in.ppm").write_bytes(b"P6\n20 20\n255\n" + bytes(range(240)) * 5)
    program = tmp_path / "build" / "examples" / "upscale_ppm"
    run(program, model, tmp_path / "in.ppm", tmp_path / "out.ppm")
    assert (tmp_path / "out.ppm").read_bytes().startswith(b"P6\n80 80\n255\n")
    assert "libonnxruntime.so.1" in run("readelf", "-d", tmp_path / "build" / "libfxsr.so")


def test_cmake_finds_onnx_runtime_s_own_package(tmp_path: Path) -> None:
    build_native()  # skips where it can't be built
    package = (
        "add_library(onnxruntime::onnxruntime SHARED IMPORTED)\n"
        f"set_target_properties(onnxruntime::onnxruntime PROPERTIES IMPORTED_LOCATION {onnxruntime_library()})\n"
    )
    (tmp_path / "onnxruntimeConfig.cmake").write_text(package)
    settings = ["-DFXSR_LINK_ONNXRUNTIME=ON", f"-Donnxruntime_DIR={tmp_path}", "-G", "Unix Makefiles"]
    run("cmake", "-S", SOURCES, "-B", tmp_path / "build", *settings)
    linked = (tmp_path / "build" / "CMakeFiles" / "fxsr.dir" / "link.txt").read_text()
    assert str(onnxruntime_library()) in linked


def test_documented_python_upscales(prefix: NativeLibrary, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FXSR_ONNXRUNTIME", str(onnxruntime_library()))
    names = {"library": str(prefix.folder / "lib" / "libfxsr.so.1"), "path": str(model)}
    exec(block("python"), names)
    assert len(set(names["result"].raw)) > 50  # type: ignore[attr-defined]


def test_the_installed_package_is_found(installed: NativeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=re.escape("pip install ./runtime/native")):
        find_native()
    monkeypatch.syspath_prepend(installed.folder.parent)
    assert find_native() == installed
    assert find_onnxruntime() == onnxruntime_library()
