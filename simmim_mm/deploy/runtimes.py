"""Running exported models: by onnxruntime and by OpenVINO, with one interface."""

import json
import re
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from simmim_mm.interop import ExportError

EXTRA = "pip install '.[deploy]'"
PREFIX = 'simmim_mm.'  # of our metadata
# Operators of onnxruntime that multiply, and those of them that do it in integers.
_PRODUCT = re.compile('MatMul|Gemm|Conv|Attention')
_INTEGER = re.compile('Integer|QLinear|^Q|DynamicQuantize')


class DeployError(ExportError):
    """A model that cannot be run, checked or quantized; the message says why and what to do."""


def need(module: str) -> Any:
    """Import a library of the extra ``deploy``, or raise a DeployError that names the extra."""
    try:
        return import_module(module)
    except ImportError as error:
        library = module.split('.')[0]
        raise DeployError(f'{library} is needed ({error}): {EXTRA}') from None


class Runtime(ABC):
    """A model that runs.

    Args:
        model: A file, or its content.
        threads: Of one run.

    Attributes:
        name: Of the library.
        metadata: What :func:`~simmim_mm.deploy.onnx_file.describe` wrote, by name.
        input_names: Of the arguments.
        output_names: Of the results.
    """

    name: str
    metadata: dict[str, Any]
    input_names: list[str]
    output_names: list[str]

    @abstractmethod
    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Results of the inputs, in the order of the names."""

    @abstractmethod
    def precisions(self) -> Counter[str]:
        """How many products of matrices and convolutions really run in which type."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the images; None: any."""
        return tuple(self.metadata['image_size'] or ()) or None  # type: ignore[return-value]


class OnnxRuntime(Runtime):
    """An ONNX file, or its content, in onnxruntime on the CPU."""

    name = 'onnxruntime'

    def __init__(self, model: Path | bytes, threads: int = 0) -> None:
        self.model = model
        ort = need('onnxruntime')
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # what it writes to the terminal it also raises
        try:
            self.session = ort.InferenceSession(
                model if isinstance(model, bytes) else str(model),
                options,
                providers=['CPUExecutionProvider'],
            )
        except Exception as error:  # its classes have no base of their own
            shown = 'the model' if isinstance(model, bytes) else model
            raise DeployError(f'onnxruntime does not run {shown}: {error}') from None
        stored = self.session.get_modelmeta().custom_metadata_map
        self.metadata = parse_metadata(stored)
        self.input_names = [x.name for x in self.session.get_inputs()]
        self.output_names = [x.name for x in self.session.get_outputs()]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        return self.session.run(None, dict(zip(self.input_names, inputs)))

    def precisions(self) -> Counter[str]:
        """Of the graph as onnxruntime has optimized it."""
        ort, onnx = need('onnxruntime'), need('onnx')
        options = ort.SessionOptions()
        options.log_severity_level = 4
        with tempfile.TemporaryDirectory() as folder:
            file = options.optimized_model_filepath = str(Path(folder) / 'optimized.onnx')
            model = self.model if isinstance(self.model, bytes) else str(self.model)
            ort.InferenceSession(model, options, providers=['CPUExecutionProvider'])
            nodes = onnx.load(file, load_external_data=False).graph.node
        kinds = [node.op_type for node in nodes if _PRODUCT.search(node.op_type)]
        return Counter('int8' if _INTEGER.search(kind) else 'float32' for kind in kinds)


class OpenVino(Runtime):
    """An ONNX file or OpenVINO's own (``.xml`` beside ``.bin``), in OpenVINO on the CPU.

    Args:
        model: A file, its content, or a model of OpenVINO.
        precision: ``'f32'`` or ``'bf16'``; None: what OpenVINO chooses on this processor.
    """

    name = 'openvino'

    def __init__(self, model: Any, threads: int = 0, precision: str | None = None) -> None:
        openvino = need('openvino')
        core = openvino.Core()
        if isinstance(model, (str, Path, bytes)):
            try:
                model = core.read_model(model if isinstance(model, bytes) else str(model))
            except RuntimeError as error:
                raise DeployError(f'OpenVINO does not read {model}: {error}') from None
        options: dict[str, Any] = dict(PERFORMANCE_HINT='LATENCY')
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        if precision:
            options['INFERENCE_PRECISION_HINT'] = precision
        self.compiled = core.compile_model(model, 'CPU', options)
        keys = [PREFIX.rstrip('.'), 'metadata']
        stored = model.get_rt_info(keys).astype(str) if model.has_rt_info(keys) else '{}'
        self.metadata = json.loads(stored)
        self.input_names = [x.get_any_name() for x in self.compiled.inputs]
        self.output_names = [x.get_any_name() for x in self.compiled.outputs]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        results = self.compiled(dict(zip(self.input_names, inputs)))
        return [results[output] for output in self.compiled.outputs]

    def precisions(self) -> Counter[str]:
        """Of the graph as OpenVINO executes it."""
        kinds = ('Convolution', 'MatMul', 'FullyConnected', 'ScaledDotProductAttention')
        names = dict(i8='int8', u8='int8', f32='float32', bf16='bfloat16', f16='float16')
        found: Counter[str] = Counter()
        for node in self.compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            if info['layerType'].astype(str) in kinds:
                precision = info['runtimePrecision'].astype(str)
                found[names.get(str(precision), str(precision))] += 1
        return found


def parse_metadata(stored: dict[str, str]) -> dict[str, Any]:
    """Our entries of a file's metadata, without the prefix."""
    found = {k.removeprefix(PREFIX): v for k, v in stored.items() if k.startswith(PREFIX)}
    try:
        return {name: json.loads(text) for name, text in found.items()}
    except ValueError as error:
        raise DeployError(f'the metadata of the file are damaged ({error})') from None
