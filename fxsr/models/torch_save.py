"""Writes files with `torch.save`, whose errors do not say that a disk is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxsr.errors import FxsrError, first_line
from fxsr.extras import needs
from fxsr.files import atomic_path, disk_is_full


def save_torch(content: Any, path: Path, extra: str) -> None:
    """Write what torch can save, whole or not at all, and wait until it is on the disk.

    Args:
        content: state dicts and the like.
        path: the file.
        extra: the extra that the caller belongs to.

    Raises:
        FxsrError: the file can't be written.
    """
    with needs(extra):
        import torch
    with atomic_path(path, durable=True) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:
            reason = "the disk is full" if disk_is_full(temporary.parent) else first_line(error)
            raise FxsrError(f"cannot write {path}: {reason}") from error
