"""One page on a training: curves, what they say, pictures, config and environment."""

import base64
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html import escape
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from mmengine.config import Config
from PIL import Image

from simmim_mm.checkpoint.file_backend import AtomicLocalBackend
from simmim_mm.checkpoint.safe_load import plain_dict
from simmim_mm.checkpoint.stored_config import parse_config
from simmim_mm.curation.stats import folder_stats
from simmim_mm.datasets.decode import open_pillow, quiet_decoders
from simmim_mm.datasets.errors import DataError, UnreadableImage
from simmim_mm.datasets.image_dataset import single_datasets
from simmim_mm.datasets.image_folder import list_images, spread
from simmim_mm.datasets.limits import MAX_PIXELS
from simmim_mm.datasets.transforms.loading import LoadImage
from simmim_mm.evaluation.spectrum import BANDS
from simmim_mm.experiments.report import duration
from simmim_mm.experiments.scalars import (
    checkpoint_files,
    read_scalars,
    seconds_taken,
    start_folders,
)
from simmim_mm.experiments.spectra import draw_spectra, measure_spectra
from simmim_mm.version import __version__
from simmim_mm.visualization.grid import display_range, shrink, to_rgb
from simmim_mm.visualization.reconstructor import Reconstructor

# Drawn in this order; everything else that a validation has written comes after.
_TRAINING = dict(
    loss='loss of the training images',
    grad_norm='norm of the gradients, before clipping',
    lr='learning rate',
    images_per_second='images per second',
)
# What a curve is like if all is well.
_NORMAL = {
    'loss': 'Normal: steep in the first tenth, then ever flatter, with noise of a few percent. '
    'Level from the start, rising, or jumps that stay are not.',
    'grad_norm': 'Normal: level or slowly changing after the warm-up. Spikes of more than ten '
    'times the usual, again and again, ask for a lower rate or for clipping.',
    'lr': 'Normal: rises during the warm-up, then falls as the schedule says.',
    'images_per_second': 'Normal: level. The first value is lower; a later drop means that '
    'something else uses the machine.',
    'masked_loss/loss': 'Normal: falls with the loss of the training images, at a little '
    'distance. A minimum long before the end is overfitting.',
    'knn/accuracy': 'Normal: rises, at first quickly, and lies above chance, which is 100% over '
    'the number of classes.',
    'linear/accuracy': 'Normal: rises, and mostly lies above that of the nearest neighbors.',
    'rankme': 'Normal: rises or stays level. Towards 1, all features are alike; the most '
    'that it can be is their width or the number of images.',
}
_NOT_DRAWN = {*_TRAINING, 'iter', 'epoch', 'time', 'data_time', 'base_lr', 'memory'}
_HELD_OUT = 'masked_loss/loss'
_PICTURE_WIDTH = 900  # pixels
_SAMPLE_SIDE = 160

_STYLE = """
:root {color-scheme: light dark}
body {font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em}
img {max-width: 100%; height: auto}
.curves {display: grid; grid-template-columns: repeat(auto-fit, minmax(18em, 1fr)); gap: 1em}
figure {margin: 0}
.samples {display: flex; flex-wrap: wrap; gap: 0.5em; margin-top: 1em}
figcaption {font-size: 0.9em}
pre {overflow-x: auto; font-size: 0.85em; padding: 0.6em; border: 1px solid #8886}
td, th {padding: 0.1em 1em 0.1em 0; text-align: left; vertical-align: top}
summary {cursor: pointer; font-weight: bold}
"""
# Whatever a name in it holds, a browser loads and runs nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Curve(NamedTuple):
    """A number over the iterations, sorted; where a resumed run repeats some, the later counts."""

    steps: list[int]
    values: list[float]


def read_curves(work_dir: str | Path) -> dict[str, Curve]:
    """All numbers that the starts of a training have written, by name."""
    points: dict[str, dict[int, float]] = {}
    for folder in start_folders(work_dir):
        for line in read_scalars(folder):
            for name, value in line.items():
                is_number = isinstance(value, (int, float)) and math.isfinite(value)
                if name != 'step' and is_number and isinstance(line.get('step'), int):
                    points.setdefault(name, {})[line['step']] = float(value)
    return {name: Curve(*map(list, zip(*sorted(found.items())))) for name, found in points.items()}


def observations(curves: dict[str, Curve]) -> list[str]:
    """What the curves of a pretraining say, one sentence each.

    - How far the loss has fallen, from the mean of its first tenth to that of its last.
    - Whether it still falls: its last tenth against the one before.
    - Where it jumps by more than a quarter of the range that it has gone through.
    - Whether the loss of held-out images rises from its minimum while that of training falls.
    - Whether a third of the time or more goes into waiting for images.
    """
    found = []
    loss = curves.get('loss')
    if loss is None or len(loss.values) < 2:
        return ['Too few numbers have been logged to say anything yet.']
    tenth = max(1, len(loss.values) // 10)
    first, last = mean(loss.values[:tenth]), mean(loss.values[-tenth:])
    if last >= first:
        found.append(
            f'The loss has not fallen ({first:.3g} at first, {last:.3g} now): the learning rate '
            'may be much too high or too low, or the values of the images far from mean and std.'
        )
    else:
        found.append(f'The loss fell from {first:.3g} to {last:.3g}.')
    if len(loss.values) >= 20 and last < first:
        before = mean(loss.values[-2 * tenth : -tenth])
        gain = (before - last) / (first - last)
        found.append(
            f'It still falls: {gain:.0%} of that in the last tenth. A longer training would '
            'probably go on.'
            if gain > 0.02
            else f'It has become flat: {max(gain, 0):.1%} of that in the last tenth.'
        )
    span = max(loss.values) - min(loss.values)
    jumps = [b - a for a, b in pairwise(loss.values[tenth:])]
    if len(loss.values) >= 20 and jumps and max(jumps) > span / 4:
        step = loss.steps[tenth:][jumps.index(max(jumps)) + 1]
        found.append(
            f'It jumps at iteration {step}: if that happens again, lower the learning rate.'
        )
    held_out = curves.get(_HELD_OUT)
    if held_out and len(held_out.values) >= 3:
        low = min(held_out.values)
        if held_out.values[-1] > low * 1.02 and last < first:
            step = held_out.steps[held_out.values.index(low)]
            found.append(
                f'Held-out images were reconstructed best at iteration {step}, and get worse while '
                'the training images get better: more images or stronger crops would help.'
            )
    time, waiting = curves.get('time'), curves.get('data_time')
    if time and waiting and sum(waiting.values) > sum(time.values) / 3:
        share = sum(waiting.values) / sum(time.values)
        found.append(
            f'{share:.0%} of the time went into waiting for images: more workers '
            '(train_dataloader.num_workers) or smaller copies (simmim cache) make it faster.'
        )
    return found


def write_run_report(
    work_dir: str | Path, path: str | Path | None = None, num_images: int = 16
) -> Path:
    """Write a page on a training, complete in itself: no other file, no script, no network.

    Args:
        work_dir: Of a training of ours or of OpenMMLab's, finished or not.
        path: The page; None = ``report.html`` in ``work_dir``.
        num_images: Of the training data, from which samples, statistics and spectra are taken;
            none of these where it is 0.

    Returns:
        The path of the page.

    Raises:
        DataError: If ``work_dir`` holds no training.
    """
    work_dir = Path(work_dir)
    curves = read_curves(work_dir)
    if not curves:
        raise DataError(
            f'{work_dir} holds no training that has logged anything (DATE_TIME/vis_data/'
            'scalars.json): give the --work-dir of one'
        )
    starts = start_folders(work_dir)
    config = run_config(starts)
    title = escape(work_dir.resolve().name)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f'<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>',
        _table(_facts(work_dir, curves, config)),
        '<h2>What the curves say</h2><ul>',
        *(f'<li>{escape(text)}' for text in observations(curves)),
        '</ul><h2>Curves</h2><div class="curves">',
        *_figures(curves),
        '</div>',
        *_pictures(work_dir),
        *(_looks(work_dir, config, num_images) if config is not None and num_images else ()),
        *_next_steps(work_dir, config),
        *_details(work_dir, config, starts),
        f'<p><small>simmim_mm {__version__}</small></html>',
    ]
    target = Path(path) if path else work_dir / 'report.html'
    AtomicLocalBackend().put_text('\n'.join(parts), target)
    return target


def run_config(starts: Sequence[Path]) -> Config | None:
    """The config of the last of some starts that has one; nothing of it is run."""
    for folder in reversed(starts):
        file = folder / 'vis_data' / 'config.py'
        if file.is_file():
            with suppress(ValueError, SyntaxError):  # then the page does without
                return parse_config(file.read_text(errors='replace'))  # runs nothing
    return None


def _facts(work_dir: Path, curves: dict[str, Curve], config: Config | None) -> dict[str, str]:
    done = max(curve.steps[-1] for curve in curves.values())
    train = plain_dict((config or {}).get('train_cfg'))
    planned = None if train.get('seconds') else train.get('max_iters')
    length = f' of {planned}' if planned else ''
    if 'epoch' in curves and train.get('max_epochs'):
        length = f', epoch {curves["epoch"].values[-1]:.0f} of {train["max_epochs"]}'
    facts = {'iterations': f'{done}{length}', 'time': duration(seconds_taken(work_dir))}
    number = len(start_folders(work_dir))
    if number > 1:
        facts['starts'] = f'{number}, of which the last continued'
    for name, curve in curves.items():
        if name == 'loss' or ('/' in name and name not in _NOT_DRAWN):
            facts[name] = f'{curve.values[-1]:.4g}'
    bad = work_dir / 'bad_files.txt'
    if bad.is_file():
        number = len(bad.read_text(errors='replace').splitlines())
        facts['unreadable images'] = f'{number}, see {bad.name}'
    return facts


def _table(rows: dict[str, str]) -> str:
    cells = (f'<tr><th>{escape(k)}<td>{escape(v)}' for k, v in rows.items())
    return f'<table>{"".join(cells)}</table>'


def _figures(curves: dict[str, Curve]) -> Iterator[str]:
    others = {name: name for name in curves if name not in _NOT_DRAWN}
    for name, label in {**_TRAINING, **others}.items():
        if name in curves:
            image = image_tag(draw_curves({name: curves[name]}, label), 'png', label)
            yield f'<figure>{image}<figcaption>{_NORMAL.get(name, "")}</figcaption></figure>'


def draw_curves(curves: dict[str, Curve], label: str) -> bytes:
    """PNG of some curves, by the names that a legend gives them where they are several."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 2.8), layout='constrained')
    axes = figure.subplots()
    for name, curve in curves.items():
        few = len(curve.steps) < 30
        axes.plot(curve.steps, curve.values, marker='o' if few else None, ms=3, label=name)
    if len(curves) > 1:
        axes.legend(fontsize=7)
    axes.set_title(label, size=10)
    axes.set_xlabel('iteration')
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of ticks, for values near the largest that there are
        figure.savefig(buffer, format='png', dpi=140)
    return buffer.getvalue()


def image_tag(content: bytes, kind: str, text: str) -> str:
    """HTML of an image that holds its content."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(text)}" src="data:image/{kind};base64,{data}">'


def drawings(work_dir: Path) -> dict[int, Path]:
    """The reconstructions that a training has drawn, by iteration, oldest first."""
    found = {
        int(re.sub(r'\D', '', path.stem) or 0): path
        for path in (work_dir / 'vis_data').glob('reconstruction_*.png')
    }
    return dict(sorted(found.items()))


def read_drawing(path: Path) -> Image.Image | None:
    """A picture in a work dir, which may be of unknown origin; None if it cannot be read."""
    try:
        with quiet_decoders(), path.open('rb') as stream:
            return open_pillow(stream, MAX_PIXELS).convert('RGB')
    except Exception:  # decoders raise everything
        return None


def _pictures(work_dir: Path) -> Iterator[str]:
    """Reconstructions: the first, one in the middle, the last; of damaged ones, nothing."""
    files = drawings(work_dir)
    steps = list(files)
    if not steps:
        return
    yield '<h2>Reconstructions</h2>'
    yield (
        '<p>Blur is normal; outlines and textures should continue into the hidden part. Gray or '
        'blotchy predictions mean that the training was too short or the learning rate too high.'
    )
    for step in sorted({steps[0], steps[len(steps) // 2], steps[-1]}, reverse=True):
        picture = read_drawing(files[step])
        if picture is None:
            continue
        picture.thumbnail((_PICTURE_WIDTH, 10 * _PICTURE_WIDTH))
        buffer = io.BytesIO()
        picture.save(buffer, 'JPEG', quality=88)
        caption = f'iteration {step}'
        image_text = image_tag(buffer.getvalue(), 'jpeg', f'reconstructions at {caption}')
        yield f'<figure>{image_text}<figcaption>{caption}</figcaption></figure>'


def _looks(work_dir: Path, config: Config, num_images: int) -> Iterator[str]:
    """Statistics and samples of the training images, and spectra of their reconstructions."""
    for title, section in (('Data', _data), ('Spectra', _spectra)):
        try:
            parts = [*section(work_dir, config, num_images)]
        except Exception as error:  # the data may have moved, the model may be of another library
            parts = [f'<p>Not available: {escape(str(error))}']
        if parts:
            yield f'<h2>{title}</h2>'
            yield from parts


def _image_folder(config: Config) -> tuple[str, dict]:
    """The first folder of training images, and the settings of their loader."""
    data = config.train_dataloader.dataset
    part = next(p for _, p in single_datasets(data) if p.get('data_root'))
    loader = next(s for s in part.pipeline if str(s['type']).endswith('LoadImage'))
    return part.data_root, {k: v for k, v in loader.items() if k != 'type'}


def _some_images(root: str, number: int) -> list[str]:
    files = list_images(root)
    return [files[i] for i in spread(len(files), number)]


def _data(work_dir: Path, config: Config, num_images: int) -> Iterator[str]:
    root, settings = _image_folder(config)
    given = (settings.get(k) for k in ('channels', 'window', 'nodata'))
    stats = folder_stats(root, *given, max_images=num_images)
    low, high = stats.sizes.min(0), stats.sizes.max(0)
    rows = {
        'folder': root,
        'files': f'{stats.num_files}, of which {len(stats.sizes)} were looked at',
        'height x width': f'{low[0]}x{low[1]} to {high[0]}x{high[1]}',
        'types': ', '.join(map(str, stats.types)),
        'channels': ', '.join(map(str, stats.channels)),
        'values': f'{stats.low:g} to {stats.high:g}',
        'mean of the channels': ', '.join(f'{x:.4g}' for x in stats.mean),
        'standard deviation': ', '.join(f'{x:.4g}' for x in stats.std),
    }
    for name in ('mean', 'std'):
        if used := (config.model.get('data_preprocessor') or {}).get(name):
            rows[f'{name} in the config'] = ', '.join(f'{x:.4g}' for x in used)
    if stats.bad:
        rows['unreadable'] = f'{len(stats.bad)}, such as {stats.bad[0][0]}'
    yield _table(rows)
    yield '<div class="samples">'
    for file in _some_images(root, min(num_images, 8)):
        with suppress(UnreadableImage):
            loaded = LoadImage(**settings).transform(dict(img_path=file))
            step = max(1, max(loaded['img'].shape) // (4 * _SAMPLE_SIDE))  # of 24 megapixels, few
            pixels = loaded['img'][::step, ::step].astype('float32').transpose(2, 0, 1)
            shown = shrink(to_rgb(pixels, display_range(pixels)), _SAMPLE_SIDE)
            buffer = io.BytesIO()
            Image.fromarray(shown).save(buffer, 'JPEG', quality=88)
            yield image_tag(buffer.getvalue(), 'jpeg', Path(file).name)
    yield '</div>'


def _spectra(work_dir: Path, config: Config, num_images: int) -> Iterator[str]:
    files = checkpoint_files(work_dir)
    if not files or not is_pretraining(config):
        return
    root, _ = _image_folder(config)
    model = Reconstructor.from_checkpoint(files[-1])
    found = measure_spectra(model, _some_images(root, num_images))
    content = draw_spectra({files[-1].stem: found}, BANDS)
    yield (
        f'<p>Of {found["images"]} training images, by {escape(files[-1].name)}. Normal: the '
        'reconstruction follows the image at low frequencies and lacks high ones; on the right, '
        'the error lies well below 1 (that of the mean color) at low frequencies and near 1 at '
        'high ones.'
    )
    yield f'<figure>{image_tag(content, "png", "spectra of images and reconstructions")}</figure>'


def is_pretraining(config: Config | None) -> bool:
    """Whether a config, which may be damaged, is of a pretraining of ours."""
    kind = plain_dict((config or {}).get('model')).get('type')
    return str(kind).endswith('MaskedImageModel')


def _next_steps(work_dir: Path, config: Config | None) -> Iterator[str]:
    files = checkpoint_files(work_dir)
    if not files or not is_pretraining(config):
        return
    checkpoint = files[-1]
    yield '<h2>Next</h2><p>Look at held-out images, and find out whether it helps your task:'
    commands = (
        f'simmim reconstruct {checkpoint} /my/images',
        f'simmim knn {checkpoint} /my/class_folders',
        f'simmim compare detection /my/labeled \\\n    --checkpoints simmim={checkpoint}',
    )
    yield f'<pre>{escape(chr(10).join(commands))}</pre>'


def _details(work_dir: Path, config: Config | None, starts: Sequence[Path]) -> Iterator[str]:
    if config is not None:
        yield f'<details><summary>Config</summary><pre>{escape(config.pretty_text)}</pre></details>'
    logs = [*starts[-1].glob('*.log')]
    text = logs[0].read_text(errors='replace') if logs else ''
    if found := re.search(r'System environment:\n(.*?)\n-{20,}', text, re.DOTALL):
        yield (
            f'<details><summary>Environment of the last start</summary>'
            f'<pre>{escape(found[1])}</pre></details>'
        )
