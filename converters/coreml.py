"""Source program to a Core ML package: an ML Program which Xcode shows as an image classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from udacimed_edge.converters.base import Quantization
from udacimed_edge.core.extras import require
from udacimed_edge.runtime.contract import KEY, SIDE, Contract
from udacimed_edge.runtime.coreml import INPUT, LABEL, PROBABILITIES, quiet

__all__ = ["convert"]


def convert(program: Path, contract: Contract, quantization: Quantization | None, out: Path) -> None:
    """Write a Core ML package.

    The package takes a 64x64 gray image, pixels 0..255, and answers with the likelier label and a
    dictionary of probabilities. "int8" means weights: one scale a channel, computation in float16.

    Args:
        program: A saved torch.export program: float32 of shape (n, 1, 64, 64), values 0..255, to
            logits of shape (n, 2). Its batch may be dynamic or 1.
        contract: Written into the package; its precision is "fp32", "fp16" or "int8".
        quantization: How INT8 is made; None for float. Quantising weights needs no images.
        out: The package to write, a path that ends in `.mlpackage` and does not exist.

    Raises:
        ExtraMissingError: coremltools is not installed.
    """
    with quiet():
        require("coremltools", "coreml")
        classifier = _classifier(program)
        if quantization is not None and quantization.recipe.float_layers:
            harm = _signal_to_noise(_ml_program(classifier, replace(contract, precision="fp16")))
            kept = sorted(harm, key=harm.__getitem__)[: quantization.recipe.float_layers]
            contract = replace(contract, float_layers=tuple(kept))
        model = _ml_program(classifier, contract)
        _describe(model, contract)
        model.save(str(out))
    # A debugging map for ExecuTorch, which the package's manifest does not name
    (out / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    for file in out.rglob("*"):  # coremltools leaves the model readable by its owner alone
        file.chmod(0o755 if file.is_dir() else 0o644)


def _classifier(program: Path) -> Any:
    """The saved program for one image, its logits turned into probabilities, as Core ML expects."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = torch.export.load(program).module()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.logits(image), dim=1)

    # An image input is one image: the batch is fixed here, where torch still checks every shape.
    exported = torch.export.export(Classifier(), (torch.zeros(1, 1, SIDE, SIDE),))
    return exported.run_decompositions({})


def _ml_program(program: Any, contract: Contract) -> Any:
    import coremltools as ct

    # float16 is too coarse for probabilities: its values are 1.2e-4 apart near a threshold of 0.13 and
    # 4.9e-4 near 1. The output's type is named as well: it would be rounded to float16 on its way out.
    half = ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type != "softmax")
    return ct.convert(
        program,
        inputs=[
            ct.ImageType(name=INPUT, shape=(1, 1, SIDE, SIDE), color_layout=ct.colorlayout.GRAYSCALE),
        ],
        outputs=[ct.TensorType(dtype=np.float32)],
        classifier_config=ct.ClassifierConfig(list(contract.labels), predicted_feature_name=LABEL),
        pass_pipeline=_pipeline(contract),
        compute_precision=ct.precision.FLOAT32 if contract.precision == "fp32" else half,
        # The first system that stores 8-bit weights (constexpr_affine_dequantize); one floor for all
        # three precisions. Newer ones would add 4-bit weights and state, which nothing here uses.
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )


def _pipeline(contract: Contract) -> Any:
    import coremltools as ct
    import coremltools.optimize.coreml as optimize

    pipeline = ct.PassPipeline.DEFAULT
    # This pass fuses normalisation for three channels as though the gray image had three, and fails.
    pipeline.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    if contract.precision == "int8":
        # As the last pass: `linear_quantize_weights` on a finished model would run the one above again.
        # By default weights below 2,048 elements stay float16; coremltools keeps those below 10 anyway.
        weights = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=0
        )
        config = optimize.OptimizationConfig(
            op_type_configs={"conv": weights, "linear": weights},
            op_name_configs=dict.fromkeys(contract.float_layers),
        )
        pipeline.append_pass("compression::linear_quantize_weights")
        pipeline.set_options("compression::linear_quantize_weights", {"config": config})
    return pipeline


def _signal_to_noise(model: Any) -> dict[str, float]:
    """How well weights survive 8 bits a channel.

    Returns:
        Signal over noise, a ratio of energies, by the name of each weight; the lowest hurts most.
    """
    import coremltools.optimize.coreml as optimize

    found = {}
    for name, weight in optimize.get_weights_metadata(model, weight_threshold=0).items():
        if {child.op_type for child in weight.child_ops} & {"conv", "linear"} and weight.val.ndim > 1:
            value = weight.val.astype(np.float64).reshape(len(weight.val), -1)
            step = np.abs(value).max(axis=1, keepdims=True) / 127
            step[step == 0] = 1  # a channel of zeros is exact
            noise = np.square(np.round(value / step) * step - value).sum()
            found[name] = float(np.square(value).sum() / noise) if noise else np.inf
    return found


def _describe(model: Any, contract: Contract) -> None:
    """Fill in what Xcode shows for a model, and the contract."""
    sick = contract.labels[1]
    model.short_description = f"{contract.source_name}: {' or '.join(contract.labels)}. {contract.notice}"
    model.author = f"Converted by udacimed-edge {contract.toolkit_version}"
    model.license = f"That of the model it was made from: {contract.source_name}"
    model.version = contract.toolkit_version
    model.input_description[INPUT] = f"Chest radiograph: {contract.input}"
    model.output_description[LABEL] = (
        f"The likelier class. The decision is another: {sick} where its probability is at least "
        f"{contract.threshold:g}."
    )
    model.output_description[PROBABILITIES] = (
        f"The probability of each class; {sick} from {contract.threshold:g}"
    )
    model.user_defined_metadata[KEY] = contract.to_json()
