"""What models cost and are worth, side by side: checkpoints, configs and exported files."""

import ctypes
import gc
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from simmim_mm.catalog import load_config
from simmim_mm.compression.operations import count_operations
from simmim_mm.deploy.exportable import Exportable, read_exportable
from simmim_mm.deploy.measure import file_size, latencies
from simmim_mm.deploy.onnx_file import describe
from simmim_mm.deploy.runtimes import DeployError, OnnxRuntime, OpenVino, Runtime, need
from simmim_mm.deploy.tasks import find_task, score


class TorchModel(Runtime):
    """A model of PyTorch, on the CPU, with its normalization: as it would be exported."""

    name = 'pytorch'

    def __init__(self, exportable: Exportable) -> None:
        self.graph = exportable.graph
        self.metadata = describe(exportable, any_size=False)
        self.input_names = list(self.graph.input_names)
        with torch.inference_mode():
            results = self.graph(*exportable.examples(1))
        self.output_names = list(self.graph.names(len(results)))

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [x.numpy() for x in self.graph(*map(torch.from_numpy, inputs))]

    def precisions(self) -> Counter[str]:
        """Of the layers with weights."""
        layers = (m for m in self.graph.modules() if isinstance(m, (nn.Linear, nn.Conv2d)))
        return Counter(str(layer.weight.dtype).removeprefix('torch.') for layer in layers)


@dataclass(frozen=True)
class Variant:
    """A model to measure: a name for the table, and a file or the name of a config."""

    name: str
    path: str

    @classmethod
    def parse(cls, text: str) -> 'Variant':
        """``NAME=PATH``, or a path, which is its own name."""
        name, equals, path = text.partition('=')
        return cls(name, path) if equals and name else cls(text, text)

    def open(self, threads: int = 0, size: tuple[int, int] | None = None) -> Runtime:
        """Ready to run.

        Args:
            threads: Of a run of an exported file.
            size: Height and width in pixels of the images of a checkpoint or config.

        Raises:
            FileNotFoundError: If there is no such file or config.
            ValueError: If it is no model, or one that takes other things than images.
        """
        path, kind = Path(self.path), Path(self.path).suffix
        if kind in ('.onnx', '.xml'):
            if not path.is_file():
                raise FileNotFoundError(f'no model at {path}')
            runtime = (OnnxRuntime if kind == '.onnx' else OpenVino)(path, threads)
        elif kind in ('.pth', '.pt', '.ckpt', '.safetensors'):
            runtime = TorchModel(read_exportable(path, size=size))
        else:
            with tempfile.TemporaryDirectory() as folder:
                file = _initial(self.path, Path(folder))
                runtime = TorchModel(read_exportable(file, size=size))
        if len(runtime.input_names) != 1:
            raise DeployError(
                f'{path} takes {", ".join(runtime.input_names)}: only models that take images '
                'alone are measured'
            )
        return runtime

    def megabytes(self) -> float | None:
        """Of the file; None of a config."""
        return file_size(Path(self.path)) if Path(self.path).suffix not in ('', '.py') else None


def _initial(config: str, folder: Path) -> Path:
    """A checkpoint of a config with initial weights."""
    cfg = load_config(config)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'simmim_mm')):
        model = MODELS.build(cfg.model)
    file = folder / 'initial.pth'
    torch.save(dict(meta=dict(cfg=cfg.pretty_text), state_dict=model.state_dict()), file)
    return file


def count_parameters(variant: Variant, model: Runtime) -> int:
    """Numbers that are stored: weights, and of exported files the constants of the graph too."""
    if isinstance(model, TorchModel):
        return sum(p.numel() for p in model.graph.parameters())
    if isinstance(model, OnnxRuntime):
        graph = need('onnx').load(variant.path, load_external_data=False).graph
        return sum(prod(tensor.dims) for tensor in graph.initializer)
    ops = need('openvino').Core().read_model(variant.path).get_ops()
    return sum(prod(op.shape) for op in ops if op.get_type_name() == 'Constant')


def images_for(model: Runtime, batch: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """Random pixel values that a model takes, ``(batch, C, H, W)``."""
    about = model.metadata
    shape = (batch, about.get('channels', 3), *(about.get('image_size') or size or (224, 224)))
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


def median_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Median and distance of the quartiles; of a single value no distance."""
    if len(values) < 2:
        return values[0], None
    low, middle, high = statistics.quantiles(values, n=4, method='inclusive')
    return middle, high - low


def _memory(field: str) -> int:
    """A line of /proc/self/status in bytes: ``VmRSS``, now, or ``VmHWM``, the highest so far."""
    text = Path('/proc/self/status').read_text()
    return 1024 * int(re.findall(rf'{field}:\s*(\d+) kB', text)[0])


def peak_of(work: Callable[[], Any]) -> int:
    """Bytes by which the memory of this process grows at most while it works. Linux only."""
    gc.collect()
    with suppress(OSError, AttributeError):  # give back what was freed; glibc's
        ctypes.CDLL(None).malloc_trim(0)
    Path('/proc/self/clear_refs').write_text('5')  # the highest so far is what it is now
    before = _memory('VmRSS')
    work()
    return max(0, _memory('VmHWM') - before)


def _peak_in_this_process(
    variant: Variant, batch: int, threads: int, size: tuple[int, int] | None
) -> int | None:
    torch.set_num_threads(threads)

    def work() -> None:
        model = variant.open(threads, size)
        model(images_for(model, batch, size))

    work()  # imports, and what libraries keep
    try:
        return peak_of(work)
    except OSError:  # no Linux
        return None


def peak_memory(
    variant: Variant, batch: int, threads: int, size: tuple[int, int] | None = None
) -> int | None:
    """Bytes that a model and a run of it take at most, without the libraries.

    In a process of its own, whose memory nothing else changes.
    """
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(_peak_in_this_process, variant, batch, threads, size).result()


def bench_models(
    variants: Sequence[Variant],
    *,
    batch_sizes: Sequence[int] = (1, 8),
    runs: int = 20,
    threads: int = 0,
    size: tuple[int, int] | None = None,
    data: str | Path | None = None,
    maps: str | Path | None = None,
    values: Mapping[str, float] | None = None,
    metric: str = 'metric',
    memory: bool = True,
    report: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Measure models on this machine's CPU.

    Args:
        variants: What to measure, of different names.
        batch_sizes: Images at once, for latencies. Memory is that at the largest.
        runs: Of each model at each batch size.
        threads: Of a run; 0: as PyTorch chooses, for all.
        size: Height and width in pixels of the images, where a file does not say.
        data: Labeled images, see :func:`~simmim_mm.deploy.tasks.find_task`: kNN accuracy of
            backbones, accuracy of classifiers, mIoU of segmenters. Each model loads them as its
            training validated.
        maps: Of segmenters, the folder of segmentation maps.
        values: The metric of each name, measured elsewhere, instead.
        metric: What they are called.
        memory: Measure it, which takes a process for each model.
        report: Called with lines of progress.

    Returns:
        A row of a table for each: ``name``, ``runtime``, ``precision`` of the products that really
        run, ``M parameters``, ``G operations`` (None of exported files, which are not counted),
        for each batch size the median of ``ms, batch N`` and the distance of its quartiles,
        ``peak MB``, ``file MB``, and the metric if there is one.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If names are not different or not known, or a model does not run.
    """
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise DeployError(f'names are not different: {", ".join(names)}. Write NAME=FILE')
    if unknown := sorted(set(values or ()) - set(names)):
        raise DeployError(f'--values names {", ".join(unknown)}, the models are {", ".join(names)}')
    if min(batch_sizes) < 1 or runs < 1 or threads < 0:
        raise DeployError('--batch-sizes and --runs must be at least 1, --threads at least 0')
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    models = [variant.open(threads, size) for variant in variants]
    rows: list[dict[str, Any]] = []
    for variant, model in zip(variants, models):
        row: dict[str, Any] = dict(name=variant.name, runtime=model.name)
        row['precision'] = ', '.join(sorted(model.precisions()))
        row['M parameters'] = count_parameters(variant, model) / 1e6
        row['G operations'] = None
        if isinstance(model, TorchModel):
            shape = images_for(model, 1, size).shape
            row['G operations'] = count_operations(model.graph, shape) / 1e9
        rows.append(row)
    for batch in batch_sizes:
        report(f'latency at batch {batch}')
        images = [images_for(model, batch, size) for model in models]
        for variant, model, arrays in zip(variants, models, images):
            _try(variant, model, arrays)
        for row, taken in zip(rows, latencies(models, images, runs)):
            row[f'ms, batch {batch}'], row[f'spread, batch {batch}'] = median_and_spread(taken)
    for variant, model, row in zip(variants, models, rows):
        if memory:
            report(f'memory of {variant.name}')
            peak = peak_memory(variant, max(batch_sizes), threads, size)
            row['peak MB'] = None if peak is None else peak / 1e6
        row['file MB'] = variant.megabytes()
        if values is not None:
            row[metric] = values.get(variant.name)
        elif data is not None:
            report(f'metric of {variant.name}')
            task = find_task(model, data, maps)  # type: ignore[arg-type]  # of any runtime
            row[task.name] = score(task, model, [model])[0]  # type: ignore[arg-type]
    return rows


def _try(variant: Variant, model: Runtime, arrays: np.ndarray) -> None:
    try:
        model(arrays)
    except Exception as error:  # those of the runtimes have no base of their own
        raise DeployError(
            f'{variant.path} does not take images of {"x".join(map(str, arrays.shape))} '
            f'({str(error).strip().splitlines()[0]}): see --batch-sizes and --img-size'
        ) from None


def plot_tradeoff(path: str | Path, rows: Sequence[dict], metric: str, batch: int = 1) -> None:
    """Draw the metric of each row against its latency; bars are the quartiles' distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout='constrained')
    axes = figure.subplots()
    for row in rows:
        if row.get(metric) is None:
            continue
        x, spread = row[f'ms, batch {batch}'], row[f'spread, batch {batch}'] or 0
        axes.errorbar(x, row[metric], xerr=spread / 2, marker='o', capsize=3)
        axes.annotate(row['name'], (x, row[metric]), xytext=(6, 6), textcoords='offset points')
    axes.set(
        xlabel=f'ms a run, batch {batch} (median; bar: distance of the quartiles)', ylabel=metric
    )
    axes.set_xlim(left=0)
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
