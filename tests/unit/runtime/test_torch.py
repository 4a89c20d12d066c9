"""The checkpoint itself as a session."""

from __future__ import annotations

import numpy as np
import pytest

from fxsr.errors import FxsrError, OutOfMemoryError, UsageError
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU
from tests.support import TINY, golden_checkpoint


def test_torch_without_memory_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    lr, t_map = np.zeros((1, 3, 8, 9), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    with TorchSession(golden_checkpoint(TINY, 1), CPU) as session:

        def fails(*inputs: object) -> None:
            raise error

        monkeypatch.setattr(session, "_network", fails)
        error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        with pytest.raises(OutOfMemoryError, match="too little memory for a 9x8 tile in batches of 1"):
            session.run(lr, t_map)
        error = RuntimeError("cuDNN error")
        with pytest.raises(FxsrError, match="torch failed on a 9x8 tile: cuDNN error"):
            session.run(lr, t_map)


def test_a_closed_session_says_so() -> None:
    lr, t_map = np.zeros((1, 3, 8, 9), np.float32), np.zeros((1, 1, 1, 1), np.float32)
    session = TorchSession(golden_checkpoint(TINY, 1), CPU)
    session.close()
    with pytest.raises(UsageError, match="this session is closed; open the model again"):
        session.run(lr, t_map)
