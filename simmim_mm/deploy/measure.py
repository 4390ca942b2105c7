"""What quantization gains and costs: size, latency, features, and the metric of the task."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simmim_mm.deploy.int8 import Images
from simmim_mm.deploy.runtimes import OnnxRuntime, OpenVino, Runtime
from simmim_mm.deploy.tasks import Task, results, score
from simmim_mm.processor import cpu_flags, cpu_name

BATCHES = (1, 8)
# Instructions that matter here, as Linux names them.
_FLAGS = (
    *('avx2', 'avx512f', 'avx_vnni', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8'),
    *('asimddp', 'i8mm', 'bf16'),
)


@dataclass
class Measured:
    """What was measured of a file.

    Attributes:
        name: Of the variant.
        megabytes: Of the file, or files.
        latency: Median milliseconds of a run, by number of images.
        precisions: In which type products run, as text.
        cosine: Of the first result to that of the original, the mean over images.
        metric: Of the task, in percent; None without labels.
    """

    name: str
    megabytes: float
    latency: dict[int, float]
    precisions: str
    cosine: float
    metric: float | None = None


def processor() -> str:
    """The processor and those of its instructions that matter here."""
    flags = [flag for flag in _FLAGS if flag in (cpu_flags() or ())]
    return f'{cpu_name()} ({", ".join(flags) or "instructions not known"})'


def file_size(path: Path) -> float:
    """Megabytes of a model; of OpenVINO's, of both files."""
    files = [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def open_model(path: Path, threads: int = 0) -> Runtime:
    """A file in the runtime that its ending names."""
    return OpenVino(path, threads) if path.suffix == '.xml' else OnnxRuntime(path, threads)


def latencies(
    models: Sequence[Callable[[np.ndarray], Any]],
    inputs: Sequence[np.ndarray],
    runs: int,
    seconds: float = math.inf,
    least: int = 0,
    warm_up: int = 3,
) -> list[list[float]]:
    """Milliseconds of each run of each model; they take turns, so that none is favored.

    Args:
        models: Each called with its input.
        inputs: One for each model.
        runs: Of each model.
        seconds: For all of them together, after which there are no more, but for the ``least``.
        least: Runs of each model, however long they take.
        warm_up: First runs of each model, which do not count.
    """
    times: list[list[float]] = [[] for _ in models]
    end = math.inf
    for run in range(-warm_up, runs):
        if run == 0:
            end = time.perf_counter() + seconds
        if run >= least and time.perf_counter() >= end:
            break
        for model, arrays, taken in zip(models, inputs, times):
            start = time.perf_counter()
            model(arrays)
            taken.append(1e3 * (time.perf_counter() - start))
    return [taken[warm_up:] for taken in times]


def _median_latencies(
    models: Sequence[Runtime], batch: int, images: Sequence[np.ndarray]
) -> list[float]:
    """Median milliseconds of a run of ``batch`` images, repeated as needed, for some seconds."""
    arrays = np.stack([images[i % len(images)] for i in range(batch)])
    times = latencies(models, [arrays] * len(models), 200, seconds=5.0, least=15, warm_up=5)
    return list(map(statistics.median, times))


def mean_cosine(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Cosine similarity of the two results of each image, all values in a row; their mean."""
    values = []
    for x, y in zip(a, b):
        x, y = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
        values.append(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-12))
    return float(np.mean(values))


def measure(
    source: Path,
    quantized: Path,
    images: Images | None = None,
    task: Task | None = None,
    threads: int = 0,
) -> list[Measured]:
    """Compare a quantized file with its original, in onnxruntime, and beside it in OpenVINO.

    Args:
        source: The original ONNX file.
        quantized: ``.xml`` or ``.onnx``.
        images: To run; None: noise in the range of the training's images.
        task: To score.
        threads: Of a run; 0: as the runtimes choose.

    Returns:
        The original in onnxruntime, if OpenVINO runs the quantized file the original in OpenVINO
        as it chooses, and the quantized file.
    """
    original = OnnxRuntime(source, threads)
    models: list[tuple[str, Runtime, float]] = [
        ('fp32, onnxruntime', original, file_size(source)),
    ]
    if quantized.suffix == '.xml':
        models.append(('fp32 file, openvino', OpenVino(source, threads), file_size(source)))
    runtime = open_model(quantized, threads)
    name = f'int8 {runtime.metadata["method"]}, {runtime.name}'
    models.append((name, runtime, file_size(quantized)))
    arrays = images.arrays[:64] if images else _noise(original)
    runtimes = [model for _, model, _ in models]
    result = [n for n in original.output_names if n != 'labels'][-1]
    expected = results(original, arrays, result)
    times = {batch: _median_latencies(runtimes, batch, arrays) for batch in BATCHES}
    metrics = score(task, original, runtimes) if task else [None] * len(models)
    return [
        Measured(
            name,
            size,
            {batch: times[batch][i] for batch in BATCHES},
            ', '.join(f'{n} {kind}' for kind, n in sorted(model.precisions().items())),
            mean_cosine(expected, results(model, arrays, result)),
            metric,
        )
        for i, ((name, model, size), metric) in enumerate(zip(models, metrics))
    ]


def _noise(model: OnnxRuntime) -> list[np.ndarray]:
    about, rng = model.metadata, np.random.default_rng(0)
    size = (about['channels'], *(model.size or (224, 224)))
    mean, std = (
        np.array(about['normalization'].get(name) or default).reshape(-1, 1, 1)
        for name, default in (('mean', [0.0]), ('std', [1.0]))
    )
    return [(rng.standard_normal(size) * std + mean).astype(np.float32) for _ in range(8)]


def table(rows: Sequence[Measured], metric: str = '') -> list[dict[str, Any]]:
    """Rows of a table, each beside the first in parentheses."""
    first, lines = rows[0], []
    for row in rows:
        line: dict[str, Any] = {
            'file': row.name,
            'MB': f'{row.megabytes:.1f} ({row.megabytes / first.megabytes:.2f})',
        }
        for batch, value in row.latency.items():
            line[f'ms, batch {batch}'] = f'{value:.1f} ({value / first.latency[batch]:.2f})'
        line |= {'products': row.precisions, 'cosine': f'{row.cosine:.4f}'}
        if row.metric is not None:
            line[f'{metric}, %'] = f'{row.metric:.2f}'
        lines.append(line)
    return lines
