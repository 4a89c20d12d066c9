from __future__ import annotations

import re

import pytest

from fxsr import errors
from fxsr.errors import FxsrError, MissingExtraError
from fxsr.extras import LazyModule, needs


def error_classes() -> dict[str, type[FxsrError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FxsrError) and value.__module__ == errors.__name__
    }


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = re.findall(r"(\w+Error)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(error_classes())


def test_drawn_exit_statuses_are_the_real_ones() -> None:
    for name, status in re.findall(r"(\w+Error)\s+exit (\d)", errors.__doc__ or ""):
        assert error_classes()[name].exit_status == int(status)


def test_a_missing_package_names_the_pip_line() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "fxsr\[gpu\]"'), needs("gpu"):
        import a_package_that_does_not_exist  # type: ignore[import-not-found] # noqa: F401


def test_other_errors_inside_needs_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError), needs("gpu"):
        _ = 1 / 0


def test_a_lazy_module_is_missed_only_when_used() -> None:
    absent = LazyModule("a_package_that_does_not_exist", extra="export")
    with pytest.raises(MissingExtraError, match=r'a_package_that_does_not_exist .* "fxsr\[export\]"'):
        absent.anything  # noqa: B018
    assert LazyModule("json", extra="export").loads("1") == 1
