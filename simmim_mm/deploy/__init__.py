"""Models as files that run without this package and without PyTorch: ONNX and int8."""

from simmim_mm.deploy.int8 import quantize
from simmim_mm.deploy.onnx_file import OnnxReport, export_onnx
from simmim_mm.deploy.runtimes import DeployError, OnnxRuntime, OpenVino

__all__ = ['DeployError', 'OnnxReport', 'OnnxRuntime', 'OpenVino', 'export_onnx', 'quantize']
