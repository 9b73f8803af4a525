"""Source model to artifact bytes, one module per format, one row each in FORMATS."""

if __name__ != "udacimed_edge.converters":
    raise ImportError(f"import udacimed_edge.converters, not {__name__}")

from udacimed_edge.converters import coreml, litert, openvino, ort_mobile, triton
from udacimed_edge.converters.base import Format, QuantizationRecipe

__all__ = ["FORMATS"]

_MOST_FLOAT = 3
"""Layers that a recipe may leave in float: most of the reference model's do 5 to 7 % of its work each."""

FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            name="ort",
            title="ONNX Runtime Mobile",
            suffix=".ort",
            extra="ort",
            to_convert=("onnxscript", "onnxruntime"),
            to_execute=("onnxruntime",),
            precisions=("int8", "fp32"),
            standard=("int8", "fp32"),
            convert=ort_mobile.convert,
            can_saturate=True,
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges"),
                QuantizationRecipe(2, "per channel, percentile ranges", ranges="percentile"),
                QuantizationRecipe(
                    3, "min-max ranges, the layers that hurt most in float", float_layers=_MOST_FLOAT
                ),
            ),
        ),
        Format(
            name="coreml",
            title="Core ML",
            suffix=".mlpackage",
            extra="coreml",
            to_convert=("coremltools",),
            to_execute=("coremltools",),
            precisions=("fp16", "int8", "fp32"),
            standard=("fp16", "int8"),
            convert=coreml.convert,
            recipes=(
                QuantizationRecipe(1, "weights alone, per channel"),
                QuantizationRecipe(2, "the weights that hurt most in float16", float_layers=_MOST_FLOAT),
            ),
            calibrated=False,
            output="a class label, and the probability of each",
        ),
        Format(
            name="litert",
            title="LiteRT",
            suffix=".tflite",
            extra="litert",
            to_convert=("litert_torch", "ai_edge_litert", "ai_edge_quantizer"),
            to_execute=("ai_edge_litert",),
            precisions=("int8", "fp32"),
            standard=("int8", "fp32"),
            convert=litert.convert,
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges"),
                QuantizationRecipe(2, "per channel, ranges by moving average", ranges="moving average"),
                QuantizationRecipe(
                    3, "min-max ranges, the layers that hurt most in float", float_layers=_MOST_FLOAT
                ),
                QuantizationRecipe(4, "min-max ranges, 16-bit activations", activation_bits=16),
            ),
        ),
        Format(
            name="openvino",
            title="OpenVINO",
            suffix=".xml",
            extra="openvino",
            to_convert=("openvino", "nncf"),
            to_execute=("openvino",),
            precisions=("int8", "fp32", "fp16"),
            standard=("int8", "fp32"),
            convert=openvino.convert,
            can_saturate=True,
            recipes=(
                QuantizationRecipe(1, "per channel, min-max ranges, full bias correction"),
                QuantizationRecipe(
                    2, "mean of minima and maxima, full bias correction", ranges="mean of extremes"
                ),
                QuantizationRecipe(
                    3, "layers in float until sensitivity holds (accuracy control)", float_layers=_MOST_FLOAT
                ),
            ),
        ),
        Format(
            name="triton",
            title="Triton (a server)",
            suffix=".triton",
            extra="ort",
            to_convert=("onnxscript", "onnxruntime"),
            to_execute=("onnxruntime",),
            precisions=("fp16",),
            standard=(),  # `--target all` is for what runs at the edge
            convert=triton.convert,
            calibrated=False,
        ),
    )
}
"""Every format, by the name a person types."""
