"""Networks as ONNX files, which the recommender serves without torch."""

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def onnx_bytes(
    network: nn.Module, example: tuple[Tensor, ...], *, inputs: Sequence[str], output: str
) -> bytes:
    """The network in one file; the first dimension of every input is free. `example` has 2 rows and more."""
    rows = torch.export.Dim("rows", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / "network.onnx"
        torch.onnx.export(
            network.eval(),
            example,
            file,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: rows} for _ in example),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        return file.read_bytes()
