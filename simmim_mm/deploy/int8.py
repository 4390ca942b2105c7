"""Quantization to 8-bit integers: by OpenVINO's NNCF, or by onnxruntime, with the user's images."""

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simmim_mm.datasets.errors import DataError, UnreadableImage, first_few
from simmim_mm.datasets.image_folder import list_images, spread
from simmim_mm.deploy.loading import ImageLoader
from simmim_mm.deploy.onnx_file import check_output, write_file
from simmim_mm.deploy.runtimes import PREFIX, DeployError, OnnxRuntime, need

METHODS = ('openvino', 'dynamic', 'static')
NUM_IMAGES = 300
_SUFFIX = dict(openvino='.xml', dynamic='.onnx', static='.onnx')
_LARGE = 4096  # values; no scales of channels
# What has weights; all else stays as it is.
_PRODUCTS = ['Conv', 'MatMul', 'Gemm']


@dataclass(frozen=True)
class Images:
    """Images of a folder, as a model takes them.

    Attributes:
        paths: Those that can be loaded.
        arrays: ``(C, H, W)`` float32 each.
        unreadable: Path to reason, of those that cannot.
    """

    paths: list[str]
    arrays: list[np.ndarray]
    unreadable: dict[str, str] = field(default_factory=dict)


def read_onnx(path: str | Path) -> OnnxRuntime:
    """An ONNX file that :func:`~simmim_mm.deploy.export_onnx` wrote, ready to run.

    Raises:
        FileNotFoundError: If there is no such file.
        DeployError: If it is no ONNX file, or not one of this package.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'no ONNX file at {path}')
    model = OnnxRuntime(Path(path))
    if 'pipeline' not in model.metadata:
        raise DeployError(
            f'{path} does not say how images are loaded: only files that simmim export --to onnx '
            'wrote can be quantized'
        )
    if 'mask' in model.input_names:
        raise DeployError(f'{path} reconstructs masked images: export the backbone to quantize it')
    return model


def load_images(model: OnnxRuntime, paths: Sequence[str]) -> Images:
    """Load images as the model's training validated; those that cannot be read are named.

    Raises:
        DataError: If none can be read.
    """
    about = model.metadata
    size = model.size or (224, 224)  # calibration is the same for images of any size
    load = ImageLoader(about['pipeline'], about['channel_order'], size)
    found = Images([], [])
    for path in paths:
        try:
            image = load(path)
            if len(image) != about['channels']:
                raise UnreadableImage(
                    path, f'it has {len(image)} channels, the model takes {about["channels"]}'
                )
            found.arrays.append(image)
            found.paths.append(path)
        except UnreadableImage as error:
            found.unreadable[path] = error.reason
    if not found.paths:
        reasons = [f'{path}: {reason}' for path, reason in found.unreadable.items()]
        raise DataError(f'no image can be read: {first_few(reasons, 2)}')
    return found


def calibration_images(model: OnnxRuntime, folder: str | Path, count: int = NUM_IMAGES) -> Images:
    """``count`` images at equal distances from a folder with its subfolders.

    Raises:
        DataError: If there is no such folder, or no image in it that can be read.
    """
    if count < 1:
        raise DeployError(f'--num-images must be at least 1, got {count}')
    try:
        files = list_images(folder)
    except DataError as error:
        raise DataError(f'--images: {error}') from None
    return load_images(model, [files[i] for i in spread(len(files), count)])


def quantize(
    model: str | Path,
    out: str | Path,
    *,
    method: str = 'openvino',
    images: str | Path | None = None,
    num_images: int = NUM_IMAGES,
    overwrite: bool = False,
) -> Images | None:
    """Write a model with weights and most products in 8-bit integers.

    Args:
        model: A file that :func:`~simmim_mm.deploy.export_onnx` wrote.
        out: An ``.xml`` file, beside which a ``.bin`` is written, of ``method='openvino'``; else an
            ``.onnx`` file.
        method: ``'openvino'``: weights and activations, by NNCF, for OpenVINO. ``'static'``: the
            same by onnxruntime. ``'dynamic'``: by onnxruntime, which finds the range of activations
            as it runs, so that no images are needed.
        images: Folder of images like those to come, from which the range of activations is
            estimated.
        num_images: How many of them are used.
        overwrite: Replace what is there.

    Returns:
        The images that were used, if any.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the folder has no image that can be read.
        DeployError: If a library is missing, or the model cannot be quantized, or ``out`` exists or
            cannot be written.
    """
    if method not in METHODS:
        raise DeployError(f'--method must be one of {", ".join(METHODS)}, got {method!r}')
    path, out = Path(model), Path(out)
    check_output(out, (_SUFFIX[method],), overwrite)
    need('openvino' if method == 'openvino' else 'onnx')
    if method == 'openvino':
        need('nncf')
    source = read_onnx(path)
    if method != 'dynamic' and images is None:
        raise DeployError(
            f'--method {method} estimates the range of activations from images: give a folder, '
            '--images FOLDER, or take --method dynamic, which needs none'
        )
    calibration = None
    if images is not None and method != 'dynamic':
        calibration = calibration_images(source, images, num_images)
    try:
        if method == 'openvino':
            assert calibration is not None
            _by_nncf(path, source, calibration, out)
        elif method == 'dynamic':
            write_file(_dynamic(path), out)
        else:
            assert calibration is not None
            write_file(_static(path, source, calibration), out)
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        raise DeployError(
            f'{path} cannot be quantized by --method {method}: {type(error).__name__}: {error}'
        ) from error
    return calibration


def _by_nncf(path: Path, source: OnnxRuntime, images: Images, out: Path) -> None:
    """OpenVINO's own form, quantized by NNCF."""
    openvino, nncf = need('openvino'), need('nncf')
    passes = need('openvino.passes')
    model = openvino.Core().read_model(path)
    folding = passes.Manager()  # else weights that the graph only rearranges would stay as they are
    folding.register_pass(passes.ConstantFolding())
    folding.run_passes(model)
    operators = {node.get_type_name() for node in model.get_ops()}
    # with the smoothing of activations that transformers need
    kind = nncf.ModelType.TRANSFORMER if {'Softmax', 'MVN'} <= operators else None
    nncf.set_log_level('ERROR')
    with redirect_stdout(sys.stderr):  # bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset([array[None] for array in images.arrays]),
            subset_size=len(images.arrays),
            model_type=kind,
        )
    halve_constants(quantized)
    about = dict(source.metadata, method='openvino')
    quantized.set_rt_info(json.dumps(about), [PREFIX.rstrip('.'), 'metadata'])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'model.xml'
        openvino.save_model(quantized, file)
        write_file(file.with_suffix('.bin').read_bytes(), out.with_suffix('.bin'))
        write_file(file.read_bytes(), out)


def halve_constants(model: Any) -> None:
    """Store large constants of an OpenVINO model in half precision, in place.

    Such as position biases with the masks of shifted windows, 8.6 MB of a Swin v2-T of 37. They are
    computed with in float32, as OpenVINO's own files of float models have it; it leaves out those
    with weights in integers. Constants beyond the range of half precision stay.
    """
    openvino, ops = need('openvino'), need('openvino.opset13')
    for node in model.get_ops():
        if node.get_type_name() != 'Constant':
            continue
        output = node.output(0)
        if output.get_element_type() != openvino.Type.f32 or np.prod(node.shape) <= _LARGE:
            continue
        with np.errstate(over='ignore'):
            half = node.data.astype(np.float16)
        if np.isfinite(half).all():
            users = output.get_target_inputs()
            restored = ops.convert(ops.constant(half), 'f32').output(0)
            for user in users:
                user.replace_source_output(restored)


def _prepared(path: Path, folder: Path) -> Path:
    """With the shape of every value, and constants folded, as onnxruntime asks for."""
    file = folder / 'prepared.onnx'
    need('onnxruntime.quantization.shape_inference').quant_pre_process(
        path, file, skip_symbolic_shape=True
    )
    return file


def _dynamic(path: Path) -> bytes:
    """By onnxruntime, without images: matrix products, whose inputs are quantized as they come."""
    quantization = need('onnxruntime.quantization')
    _require_products(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / 'quantized.onnx'
        quantization.quantize_dynamic(
            _prepared(path, Path(folder)),
            file,
            op_types_to_quantize=['MatMul', 'Gemm'],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options=dict(MatMulConstBOnly=True),
        )
        return _described(file, path, 'dynamic')


def _require_products(path: Path) -> None:
    """Refuse a model most of whose weights are in convolutions, which this does not quantize."""
    onnx = need('onnx')
    graph = onnx.load(path).graph
    sizes = {w.name: int(np.prod(w.dims)) for w in graph.initializer}
    products = {x for node in graph.node if node.op_type in ('MatMul', 'Gemm') for x in node.input}
    part = sum(n for name, n in sizes.items() if name in products) / max(1, sum(sizes.values()))
    if part < 0.5:
        raise DeployError(
            f'--method dynamic quantizes matrix products, which hold {part:.0%} of the weights of '
            f'{path}; convolutions would become slower: take --method openvino or static'
        )


def _static(path: Path, source: OnnxRuntime, images: Images) -> bytes:
    """By onnxruntime, with ranges of activations as the images have them."""
    quantization = need('onnxruntime.quantization')

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.arrays = iter(images.arrays)

        def get_next(self) -> dict | None:
            array = next(self.arrays, None)
            return None if array is None else {source.input_names[0]: array[None]}

    with tempfile.TemporaryDirectory() as folder:
        file, prepared = Path(folder) / 'quantized.onnx', _prepared(path, Path(folder))
        graph = need('onnx').load(prepared).graph
        constants = {weight.name for weight in graph.initializer}
        products = [node for node in graph.node if node.op_type == 'MatMul']
        quantization.quantize_static(
            prepared,
            file,
            Reader(),
            op_types_to_quantize=_PRODUCTS,
            # those of attention would lose more than they gain
            nodes_to_exclude=[n.name for n in products if constants.isdisjoint(n.input)],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        return _described(file, path, 'static')


def _described(file: Path, original: Path, method: str) -> bytes:
    """A quantized file with the metadata of its original."""
    onnx = need('onnx')
    model, stored = onnx.load(file), onnx.load(original).metadata_props
    del model.metadata_props[:]
    model.metadata_props.extend(stored)
    entry = model.metadata_props.add()
    entry.key, entry.value = f'{PREFIX}method', json.dumps(method)
    return model.SerializeToString()
