"""Source model to artifact bytes, one module per format, one row each in FORMATS."""

if __name__ != "udacimed_edge.converters":
    raise ImportError(f"import udacimed_edge.converters, not {__name__}")

from udacimed_edge.converters import coreml, litert, openvino, ort_mobile
from udacimed_edge.converters.base import Format

__all__ = ["FORMATS"]

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
        ),
    )
}
"""Every format, by the name a person types."""
