"""From an analysis and its trained models to one ONNX graph: expressions, preprocessing, models, Triton."""
