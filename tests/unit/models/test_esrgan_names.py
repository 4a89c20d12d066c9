"""ESRGAN networks under all names that their weights are published with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fxsr.models.checkpoint import load_start
from fxsr.models.config import NetworkConfig, is_style
from fxsr.models.esrgan_names import first_release_names
from fxsr.models.network import Generator
from fxsr.training.initial import initialise
from fxsr.training.rrdb import RRDBNet, build_rrdb

CONFIG = NetworkConfig(nf=4, gc=2, nb=2, nc=2)


def basicsr(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of BasicSR, written independently of the code under test."""
    swaps = {"RRDB_trunk": "body", "RDB": "rdb", "trunk_conv": "conv_body", "upconv": "conv_up", "HRconv": "conv_hr"}
    found = {}
    for key, value in state.items():
        for ours, theirs in swaps.items():
            key = key.replace(ours, theirs)
        found[key] = value
    return found


def numbered(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of ESRGAN before its first release: layers are numbered, 2, 4, 5, 7 and 9 have no weights."""
    layers = {
        "conv_first": "0",
        "trunk_conv": "1.sub.2",
        "upconv1": "3",
        "upconv2": "6",
        "HRconv": "8",
        "conv_last": "10",
    }
    found = {}
    for key, value in state.items():
        layer, kind = key.rsplit(".", 1)
        if layer in layers:
            found[f"model.{layers[layer]}.{kind}"] = value
        else:
            found[f"model.1.sub.{layer.removeprefix('RRDB_trunk.')}.0.{kind}"] = value
    return found


@pytest.mark.parametrize("naming", [dict, basicsr, numbered])
def test_networks_are_read_under_all_names(naming: object, tmp_path: Path) -> None:
    assert callable(naming)
    torch.manual_seed(0)
    network = RRDBNet(4, 2, 2).eval()
    wanted = network.state_dict()
    stored = naming(wanted)
    assert (stored.keys() == wanted.keys()) == (naming is dict)
    assert list(first_release_names(stored)) == list(wanted)
    torch.save({"params_ema": stored}, tmp_path / "net.pth")
    fresh = {key: value.numpy() for key, value in initialise(Generator(CONFIG)).state_dict().items()}
    start = load_start(tmp_path / "net.pth", CONFIG, fresh)
    assert all(np.array_equal(start[key], value.numpy()) for key, value in wanted.items())
    assert all(np.array_equal(start[key], value) for key, value in fresh.items() if is_style(key))
    arrays = {key: value.numpy() for key, value in stored.items()}
    with torch.no_grad():
        assert torch.equal(build_rrdb(arrays, "net")(torch.ones(1, 3, 4, 4)), network(torch.ones(1, 3, 4, 4)))


def test_other_names_stay() -> None:
    state = {"conv_first.weight": 1, "conv_hr.weight": 2, "model.3.weight": 3}
    assert first_release_names(state) == state
