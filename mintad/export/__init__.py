"""A trained run as one ONNX file, which gives what the run gives, without PyTorch.

`graph` is the module that is exported, `onnx_file` writes it, `compare` runs it on the run's test images.
"""
