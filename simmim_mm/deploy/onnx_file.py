"""ONNX files: writing a model with what its user has to know, and comparing it with PyTorch."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config

from simmim_mm.checkpoint import AtomicLocalBackend
from simmim_mm.deploy.exportable import Exportable, read_exportable
from simmim_mm.deploy.runtimes import PREFIX, DeployError, OnnxRuntime, OpenVino, Runtime, need
from simmim_mm.interop.exporter import given_size
from simmim_mm.version import __version__

if TYPE_CHECKING:
    import onnx

TOLERANCE = 1e-4  # absolute, of values up to 1; above, relative to the largest
BATCHES = (1, 2, 3, 5)
OLDEST_OPSET, OPSET = 18, 20
_LIMIT = 2**31  # bytes of a protobuf


def describe(exportable: Exportable, any_size: bool) -> dict[str, Any]:
    """What a file's user has to know, by name, as it is written to its metadata."""
    graph, order = exportable.graph, exportable.channel_order
    height, width = ('height', 'width') if any_size else exportable.size
    values = 'as loaded, not normalized: 0 to 255 of 8-bit files, the graph normalizes'
    if not graph.normalizes:
        values = 'normalized as in training: the checkpoint does not say how'
    inputs = (
        f'images: float32 (batch, {exportable.channels}, {height}, {width}), channels {order}, '
        f'values {values}'
    )
    if 'mask' in graph.input_names:
        inputs += '. mask: bool (batch, rows, columns) of tokens, true where hidden'
    return dict(
        version=__version__,
        kind=graph.kind,
        model=exportable.name,
        checkpoint=exportable.checkpoint.name,
        input=inputs,
        output=graph.meaning,
        image_size=None if any_size else list(exportable.size),
        channels=exportable.channels,
        channel_order=order,
        normalization=exportable.statistics,
        classes=list(exportable.classes),
        pipeline=exportable.pipeline,
    )


def to_onnx(exportable: Exportable, opset: int = OPSET, any_size: bool = False) -> bytes:
    """The content of an ONNX file that takes any number of images.

    Args:
        exportable: The model.
        opset: Version of ONNX's operators.
        any_size: Images may be of any size, too, where the architecture allows it.

    Raises:
        DeployError: If a library is missing, the opset is not known, or the model cannot be
            expressed.
    """
    onnx = need('onnx')
    need('onnxscript')
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise DeployError(
            f'--opset {opset}: PyTorch writes operators from version {OLDEST_OPSET} on, and the '
            f'installed onnx {onnx.__version__} knows them up to {newest}'
        )
    graph, name = exportable.graph, exportable.name
    size = sum(p.numel() * p.element_size() for p in graph.state_dict().values())
    if size >= _LIMIT:
        raise DeployError(f'{name} has {size / 2**30:.1f} GiB of weights: an ONNX file holds 2')
    axes = [torch.export.Dim.DYNAMIC] * 3
    free = {0: axes[0], 2: axes[1], 3: axes[2]} if any_size else {0: axes[0]}
    examples = exportable.examples(2)
    shapes = (free, *({0: axes[0]} for _ in examples[1:]))
    try:
        # without gradients, for which attention would take another way
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of PyTorch about itself
            graph.output_names = graph.names(len(graph(*examples)))
            program = torch.onnx.export(
                graph,
                examples,
                input_names=graph.input_names,
                output_names=graph.output_names,
                opset_version=opset,
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of any kind, from any depth of the exporter
        reason = _reason(error)
        if any_size:
            raise DeployError(
                f'{name} does not take images of any size, its graph is of one ({reason}): leave '
                'out --any-size and write a file for each size'
            ) from error
        raise DeployError(f'{name} cannot be expressed in ONNX: {reason}') from error
    assert program is not None  # it is only for older ways to call it
    proto = program.model_proto
    _name_free_sizes(proto, free)
    for key, value in describe(exportable, any_size).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = f'{PREFIX}{key}', json.dumps(value)
    proto.producer_name, proto.producer_version = 'simmim_mm', __version__
    return proto.SerializeToString()


def _reason(error: BaseException) -> str:
    """The first line of the innermost error."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__


def _name_free_sizes(proto: 'onnx.ModelProto', free: dict) -> None:
    """Call what is free in the input by its name, wherever it occurs."""
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    words = {0: 'batch', 2: 'height', 3: 'width'}
    names = {dims[i].dim_param: words[i] for i in free}
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names:
                dim.dim_param = names[dim.dim_param]


@dataclass(frozen=True)
class Agreement:
    """How a runtime compares with PyTorch.

    Attributes:
        runtime: Its name.
        difference: The largest of any result: absolute, of results beyond 1 in parts of the
            largest.
        batches: Numbers of images.
        sizes: Heights and widths.
    """

    runtime: str
    difference: float
    batches: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        counts = ', '.join(map(str, self.batches))
        sizes = ', '.join(f'{h}x{w}' for h, w in self.sizes)
        return (
            f'{self.runtime} gives what PyTorch gives for {counts} images of {sizes} pixels, '
            f'largest difference {self.difference:.1e}'
        )


def compare(
    exportable: Exportable, runtime: Runtime, sizes: Sequence[tuple[int, int]] = ()
) -> Agreement:
    """Run images of noise in both.

    Args:
        exportable: The model.
        runtime: The same, exported.
        sizes: Heights and widths beside the model's own.

    Raises:
        DeployError: If the runtime fails, or a result differs by more than ``TOLERANCE``.
    """
    worst = 0.0
    hint = ': leave out --any-size, and write a file for each size' if sizes else ''
    tried = (exportable.size, *sizes)
    for size in tried:
        for batch in BATCHES if size == exportable.size else BATCHES[1:3]:
            inputs = exportable.examples(batch, size)
            where = f'for {batch} images of {size[0]}x{size[1]} pixels'
            with torch.no_grad():
                expected = exportable.graph(*inputs)
            try:
                found = runtime(*(x.numpy() for x in inputs))
            except Exception as error:  # of any kind
                raise DeployError(
                    f'{runtime.name} fails {where}, nothing is written{hint} ({_reason(error)})'
                ) from error
            for name, a, b in zip(runtime.output_names, expected, found):
                difference = _difference(a, torch.from_numpy(b))
                if not difference <= TOLERANCE:  # also of NaN
                    raise DeployError(
                        f'{name} of {runtime.name} differs by {difference:.1e} from PyTorch '
                        f'{where}, more than {TOLERANCE:.0e}, nothing is written{hint}'
                    )
                worst = max(worst, difference)
    return Agreement(runtime.name, worst, BATCHES, tried)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference, in parts of the largest value where that is above 1.

    Of classes, it is the fraction of positions that differ: where two are equally likely, rounding
    decides.
    """
    if a.shape != b.shape:
        return torch.inf
    if not a.is_floating_point():
        return (a != b).double().mean().item()
    return ((a - b).abs().max() / a.abs().max().clamp_min(1)).item()


@dataclass(frozen=True)
class OnnxReport:
    """What was written to ``out``; ``str(report)`` also says how to use it."""

    exportable: Exportable
    out: Path
    description: dict[str, Any]
    agreements: list[Agreement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        about, graph = self.description, self.exportable.graph
        lines = [f'{self.exportable.checkpoint}: {graph.kind}, {self.exportable.name}']
        lines += [f'verified: {agreement}' for agreement in self.agreements]
        lines.append(f'wrote {self.out} ({self.out.stat().st_size / 1e6:.1f} MB)')
        feed = ', '.join(f'{name!r}: {name}' for name in graph.input_names)
        lines.append(
            '\nimport onnxruntime\n\n'
            f'session = onnxruntime.InferenceSession({str(self.out)!r})\n'
            f'{", ".join(graph.output_names)} = session.run(None, {{{feed}}})\n'
        )
        lines.append(f'- Input: {about["input"]}.')
        lines.append(f'- Output: {about["output"]}.')
        if resized := self.exportable.resized:
            number = f' and {len(resized) - 1} more' if len(resized) > 1 else ''
            lines.append(f'- Resized: {resized[0]}{number}.')
        return '\n'.join([*lines, *(f'- {note}' for note in self.notes)])


def export_onnx(
    checkpoint: str | Path,
    out: str | Path,
    *,
    part: str | None = None,
    config: Config | None = None,
    window: int | None = None,
    img_size: int | Sequence[int] | None = None,
    any_size: bool = False,
    opset: int = OPSET,
    verify: bool = False,
    overwrite: bool = False,
) -> OnnxReport:
    """Write a model of a checkpoint as an ONNX file, which takes any number of images.

    The input is images as they are loaded: the graph normalizes them. What else its user has to
    know is in the file's metadata, under ``simmim_mm.*``.

    Args:
        checkpoint: Of a pretraining, a classifier or a segmenter.
        out: A file that ends in ``.onnx``.
        part: ``'backbone'``; or ``'model'``, which of a pretraining reconstructs images. None: the
            backbone of a pretraining, else the whole model.
        config: Instead of the config in the checkpoint.
        window: Side of Swin's windows in tokens; None: as trained.
        img_size: Height and width in pixels, or one number for a square; None: as trained.
        any_size: Take images of any size. It is refused where results would be wrong, which is
            always tried.
        opset: Version of ONNX's operators.
        verify: Compare with PyTorch in onnxruntime, and in OpenVINO if it is installed; nothing is
            written if they differ.
        overwrite: Replace what is there.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointError: If it is none, or its weights do not fit its config.
        DeployError: If a library is missing, or the model cannot be exported, or the verification
            fails, or ``out`` exists or cannot be written.
    """
    out = Path(out)
    check_output(out, ('.onnx',), overwrite)
    need('onnx')
    exportable = read_exportable(checkpoint, part, config, window, given_size(img_size))
    sizes = other_sizes(exportable) if any_size else ()
    content = to_onnx(exportable, opset, any_size)
    agreements, notes = [], []
    if verify or any_size:
        agreements.append(compare(exportable, OnnxRuntime(content), sizes))
        try:
            runtime = OpenVino(content, precision='f32')
        except DeployError as error:
            notes.append(f'Not tried in OpenVINO: {error}.')
        else:
            agreements.append(compare(exportable, runtime, sizes))
    write_file(content, out)
    return OnnxReport(exportable, out, describe(exportable, any_size), agreements, notes)


def other_sizes(exportable: Exportable) -> list[tuple[int, int]]:
    """A higher, a wider and a larger size, which the model takes in PyTorch, or a DeployError."""
    (height, width), step = exportable.size, 32
    sizes = [(height + step, width), (height, width + 2 * step), (2 * height, width + step)]
    for size in sizes:
        try:
            with torch.no_grad():
                exportable.graph(*exportable.examples(1, size))
        except (AssertionError, RuntimeError, ValueError) as error:
            raise DeployError(
                f'{exportable.name} does not take images of any size: leave out --any-size, and '
                f'write a file for each size ({_reason(error)})'
            ) from error
    return sizes


def check_output(path: Path, suffixes: Sequence[str], overwrite: bool) -> None:
    """Raise a DeployError at a name that will not do, or a file that exists."""
    if path.suffix not in suffixes:
        raise DeployError(f'{path} must end in {" or ".join(suffixes)}')
    if path.is_dir():
        raise DeployError(f'{path} is a folder: give the name of a file')
    if path.exists() and not overwrite:
        raise DeployError(f'{path} exists: give another name, or --force to replace it')


def write_file(content: bytes, path: Path) -> None:
    """Write all of it or nothing; a DeployError if that is not possible."""
    try:
        AtomicLocalBackend().put(content, path)
    except OSError as error:
        raise DeployError(f'cannot write {path}: {error.strerror or error}') from None
