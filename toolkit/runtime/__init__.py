"""What ships to the device: reads an artifact and screens an image.

Standard library, numpy, Pillow and one inference runtime; nothing else of the toolkit. The code that
reads an artifact here is the code that read it in validation.
"""

import sys

if __name__ != "udacimed_edge.runtime":
    raise ImportError(f"import udacimed_edge.runtime, not {__name__}")

# OpenVINO and NNCF report their use over the network where this module can be imported. Here, because
# whatever imports either of them has imported this package before.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
