"""What quantization gains and costs: size, latency, features, and the metric of the task."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simmim_mm.datasets.errors import DataError, first_few
from simmim_mm.datasets.image_folder import list_images
from simmim_mm.datasets.readers.segmentation_maps import load_mapped
from simmim_mm.deploy.int8 import Images, load_images
from simmim_mm.deploy.runtimes import DeployError, OnnxRuntime, OpenVino, Runtime
from simmim_mm.evaluation.knn import load_split, weighted_knn
from simmim_mm.processor import cpu_flags, cpu_name

BATCHES = (1, 8)
# Instructions that matter here, as Linux names them.
_FLAGS = (
    *('avx2', 'avx512f', 'avx_vnni', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8'),
    *('asimddp', 'i8mm', 'bf16'),
)
_IGNORED = 255  # mmseg's


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
    models: Sequence[Runtime], batch: int, images: Sequence[np.ndarray], seconds: float = 5.0
) -> list[float]:
    """Median milliseconds of a run of each model; they take turns, so that none is favored.

    Args:
        models: The first five runs of each do not count.
        batch: Images at once.
        images: ``(C, H, W)`` each, repeated as needed.
        seconds: For all of them together, and at least 15 runs of each.
    """
    arrays = np.stack([images[i % len(images)] for i in range(batch)])
    times: list[list[float]] = [[] for _ in models]
    end = None
    while end is None or time.perf_counter() < end or len(times[0]) < 20:
        for model, taken in zip(models, times):
            start = time.perf_counter()
            model(arrays)
            taken.append(1e3 * (time.perf_counter() - start))
        if end is None and len(times[0]) == 5:
            end = time.perf_counter() + seconds
    return [statistics.median(taken[5:]) for taken in times]


def results(
    model: Runtime, arrays: Sequence[np.ndarray], name: str, batch: int = 8
) -> list[np.ndarray]:
    """One result of a model, by its name, for each image."""
    index, found = model.output_names.index(name), []
    for first in range(0, len(arrays), batch):
        found += list(model(np.stack(arrays[first : first + batch]))[index])
    return found


def mean_cosine(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    """Cosine similarity of the two results of each image, all values in a row; their mean."""
    values = []
    for x, y in zip(a, b):
        x, y = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
        values.append(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-12))
    return float(np.mean(values))


@dataclass
class Task:
    """Labeled images, and what is counted on them.

    Attributes:
        name: Of the metric.
        labels: Image file to class, or to its segmentation map.
        result: Name of the result that is compared.
        score: From results and labels, in the order of the images, to percent.
    """

    name: str
    labels: dict[str, Any]
    result: str
    score: Callable[[list[np.ndarray], list[Any]], float]


def find_task(model: OnnxRuntime, data: str | Path, maps: str | Path | None = None) -> Task:
    """What labels say of a model: accuracy of a classifier, mIoU of a segmenter, else kNN.

    Args:
        model: The original.
        data: Of a segmenter a folder of images, else a folder for each class, or ``train`` and
            ``val`` of that kind.
        maps: Of a segmenter, the folder of segmentation maps of the same names: the number of a
            class in each pixel, 255 for none.

    Raises:
        DataError: If they are not as they should be.
    """
    kind, classes = model.metadata['kind'], model.metadata['classes']
    if maps is not None and kind != 'segmenter':
        raise DeployError(f'--maps is for a segmenter, the file is a {kind}')
    if kind == 'segmenter':
        if maps is None:
            raise DeployError('--data of a segmenter needs its segmentation maps: --maps FOLDER')
        return Task('mIoU', _paired_maps(data, maps), 'labels', _mean_iou)
    if kind not in ('classifier', 'backbone'):
        raise DeployError(f'--data: there is no metric for a {kind} here')
    bank, queries = load_split(data)
    if kind == 'backbone':
        images = [*bank.paths, *(queries.paths if queries else ())]
        labels = [*bank.labels.tolist(), *(queries.labels.tolist() if queries else ())]
        voters = set(bank.paths) if queries else None
        pairs = {
            path: (label, voters is None or path in voters) for path, label in zip(images, labels)
        }
        return Task('kNN accuracy', pairs, model.output_names[-1], _knn)
    found = queries or bank
    if classes and list(found.classes) != classes:
        raise DataError(
            f'--data: the classes of {data} are {first_few(found.classes)}, those of the model '
            f'{first_few(classes)}'
        )
    return Task('accuracy', dict(zip(found.paths, found.labels.tolist())), 'scores', _accuracy)


def _accuracy(scores: list[np.ndarray], labels: list[int]) -> float:
    return 100 * float(np.mean([x.argmax() == label for x, label in zip(scores, labels)]))


def _knn(maps: list[np.ndarray], labels: list[tuple[int, bool]]) -> float:
    """Of those that do not vote, by those that do; of all by all others, if all vote."""
    features = torch.from_numpy(np.stack([x.mean((1, 2)) for x in maps]))
    classes = torch.tensor([label for label, _ in labels])
    votes = torch.tensor([vote for _, vote in labels])
    others = None if votes.all() else features[~votes]
    expected = classes if votes.all() else classes[~votes]
    predicted = weighted_knn(features[votes], classes[votes], others)
    return 100 * (predicted == expected).double().mean().item()


def _paired_maps(images: str | Path, maps: str | Path) -> dict[str, np.ndarray]:
    files = list_images(str(images))
    by_stem = {Path(path).stem: path for path in list_images(str(maps))}
    if missing := [path for path in files if Path(path).stem not in by_stem]:
        raise DataError(f'--maps: {maps} has no map for {first_few(missing, 2)}')
    return {path: load_mapped(by_stem[Path(path).stem]) for path in files}


def _mean_iou(predicted: list[np.ndarray], maps: list[np.ndarray]) -> float:
    """Predictions are brought to the size of the maps, the nearest pixel, as mmseg's logits are."""
    size = 1 + max(int(x[x != _IGNORED].max(initial=0)) for x in maps)
    size = max(size, 1 + max(int(x.max()) for x in predicted))
    counts = np.zeros((size, size), np.int64)
    for found, expected in zip(predicted, maps):
        rows, columns = (np.arange(n) * m // n for n, m in zip(expected.shape, found.shape))
        pairs = found[rows][:, columns][expected != _IGNORED], expected[expected != _IGNORED]
        counts += np.bincount(pairs[0] * size + pairs[1], minlength=size**2).reshape(size, size)
    both = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - both
    return 100 * float(np.mean(both[union > 0] / union[union > 0]))


def score(task: Task, source: OnnxRuntime, models: Sequence[Runtime]) -> list[float]:
    """The metric of each model, in percent; images are loaded once, 64 at a time.

    Raises:
        DataError: If an image cannot be read.
    """
    paths, found = list(task.labels), [[] for _ in models]
    for first in range(0, len(paths), 64):
        images = load_images(source, paths[first : first + 64])
        for path, reason in images.unreadable.items():
            raise DataError(f'--data: {path}: {reason}')
        for model, values in zip(models, found):
            new = results(model, images.arrays, task.result)
            pools = task.score is _knn  # maps of all images would take much memory
            values += [x.mean((1, 2), keepdims=True) for x in new] if pools else new
    return [task.score(values, list(task.labels.values())) for values in found]


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
    times = {batch: latencies(runtimes, batch, arrays) for batch in BATCHES}
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
