"""Writes a network at one style as a plain ESRGAN, for runtimes that support nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fxsr.export.graph.bake import bake, esrgan_weights
from fxsr.export.verify.cases import CaseShapes, make_cases
from fxsr.export.verify.verify import agreement
from fxsr.extras import needs
from fxsr.files import sha256
from fxsr.models.checkpoint import Checkpoint
from fxsr.models.config import is_style, state_shapes
from fxsr.models.manifest import EsrganFacts, FileFacts
from fxsr.models.torch_save import save_torch
from fxsr.runtime.backends.torch import TorchSession
from fxsr.runtime.session import CPU, Array

_SIZE = ((64, 64),)
_BORDER = 16
"""LR pixels. Further inside, effects of the borders are negligible."""


def write_esrgan(checkpoint: Checkpoint, t: float, path: Path) -> EsrganFacts:
    """Write a `.pth` file with the parameter names of ESRGAN's first release, and measure how it differs from the
    network.

    It differs near the borders, since shifts in biases act beyond them too; see `fxsr.export.graph.bake`.

    Args:
        checkpoint: the network.
        t: the style, 0..1.
        path: the file to write.

    Raises:
        UsageError: this network can't be written as an ESRGAN.
        FxsrError: the file can't be written.
    """
    config = checkpoint.config
    plain = esrgan_weights(config, bake(config, checkpoint.weights, t))
    with needs("export"):
        import torch
    save_torch({key: torch.from_numpy(value) for key, value in plain.items()}, path, "export")
    # an ESRGAN is this network with style layers that change nothing
    still = {key: np.zeros(shape, np.float32) for key, shape in state_shapes(config).items() if is_style(key)}
    whole: list[Array] = []
    inside: list[Array] = []
    border = _BORDER * config.scale
    with (
        TorchSession(checkpoint, CPU) as network,
        TorchSession(Checkpoint(config, plain | still, checkpoint.about), CPU) as esrgan,
    ):
        for case in make_cases(baked_t=t, shapes=CaseShapes(_SIZE, (1,))):
            pair = np.stack([esrgan.run(case.lr, case.t_map)[0], network.run(case.lr, case.t_map)[0]])
            whole.append(pair)
            inside.append(pair[..., border:-border, border:-border])
    return EsrganFacts(
        file=FileFacts(path.name, sha256(path), path.stat().st_size),
        psnr_db=min(agreement(*pair) for pair in whole),
        max_abs=max(float(np.abs(a - b).max()) for a, b in whole),
        inside_max_abs=max(float(np.abs(a - b).max()) for a, b in inside),
    )
