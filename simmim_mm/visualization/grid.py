"""Pictures of reconstructions: pure functions from arrays to a PNG grid."""

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from simmim_mm._renamed import old_names, renamed_arguments

GUTTER, PAPER, INK = 6, (255, 255, 255), (40, 40, 40)
GRAY, STRIPE = 128, 108


def choose_channels(num_channels: int, channels: Sequence[int] | None = None) -> tuple[int, ...]:
    """Channels to show: one (as gray) or three (as red, green, blue).

    Args:
        num_channels: Of the image.
        channels: One or three numbers from 0; by default the first three, or the first of fewer.

    Raises:
        ValueError: If ``channels`` are not one or three, or name a channel that is not there.
    """
    if channels is None:
        return (0,) if num_channels < 3 else (0, 1, 2)
    if len(channels) not in (1, 3):
        raise ValueError(
            f'channels must name one channel (gray) or three (RGB), got {list(channels)}'
        )
    if min(channels) < 0 or max(channels) >= num_channels:
        raise ValueError(
            f'channels {list(channels)} of an image with channels 0 to {num_channels - 1}'
        )
    return tuple(channels)


def display_range(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values to show as black and as white, each ``(C, 1, 1)``, of an image ``(C, H, W)``.

    0 and 255 for an image of 8-bit values with one or three channels, which then looks as its file
    does. Anything else (16 bits, reflectances, heights, more channels) has no agreed brightness:
    each channel is stretched between its 1st and 99th percentile, so that a few extreme pixels do
    not leave the rest dark.
    """
    shape = (len(image), 1, 1)
    low, high = float(image.min()), float(image.max())
    if len(image) in (1, 3) and low >= -0.5 and 1.5 < high <= 255.5:
        return np.zeros(shape), np.full(shape, 255.0)
    low, high = np.percentile(image.reshape(len(image), -1), (1, 99), axis=1)
    high = np.where(high > low, high, low + 1)
    return low.reshape(shape), high.reshape(shape)


@renamed_arguments(bands='channels')
def to_rgb(
    image: np.ndarray, limits: tuple[np.ndarray, np.ndarray], channels: Sequence[int] | None = None
) -> np.ndarray:
    """``(C, H, W)`` floats to ``(H, W, 3)`` uint8, clipped to ``limits``.

    Args:
        limits: From :func:`display_range`, of the original also for its reconstruction: the two
            must be seen with the same brightness.
        channels: See :func:`choose_channels`.
    """
    low, high = limits
    shown = list(choose_channels(len(image), channels))
    scaled = np.clip((image - low) / (high - low), 0, 1)[shown]
    scaled = np.nan_to_num(scaled * 255).round().astype(np.uint8)
    return np.broadcast_to(scaled, (3, *scaled.shape[1:])).transpose(1, 2, 0)


def hatch(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 with a gray hatch where ``mask`` ``(H, W)`` is True."""
    rows, columns = np.indices(mask.shape)
    stripes = np.where((rows + columns) // 4 % 2, GRAY, STRIPE).astype(np.uint8)
    return np.where(mask[..., None], stripes[..., None], image)


def shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    """Reduce an ``(H, W, 3)`` uint8 image whose longer side exceeds ``max_side`` pixels."""
    ratio = max_side / max(image.shape[:2])
    if ratio >= 1:
        return image
    height, width = (max(1, round(side * ratio)) for side in image.shape[:2])
    pixels = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(pixels.resize((width, height), Image.Resampling.BOX))


def target_note(targets: Iterable, stats: str) -> str:
    """The note below a drawing of what was predicted for these targets.

    Empty if the target is the image itself; otherwise its name and, where it is normalized, which
    statistics the normalization was undone with (``stats`` of ``MaskedImageModel.reconstruct``).
    """
    targets = list(targets)
    if not targets:
        return ''
    names = ' of '.join(type(target).__name__ for target in reversed(targets))
    if all(target.value_range != 'normalized' for target in targets):
        return f'Target: {names}.'
    source = dict(true='the whole image', visible='its visible part only')[stats]
    return f'Target: {names}; its normalization is undone with the statistics of {source}.'


@renamed_arguments(bands='channels')
def draw_grid(
    pictures: dict[str, Tensor],
    channels: Sequence[int] | None = None,
    fill: str = 'hatch',
    min_size: int = 160,
    note: str = '',
) -> Image.Image:
    """Grid of reconstructions: a row for each image; columns original, masked, reconstruction.

    A further column shows the target where it is not the original: what the model was asked for,
    such as the low frequencies only. The last one shows the probability of foreground, white = 1,
    of a model that predicts it.

    Args:
        pictures: What ``MaskedImageModel.reconstruct`` returns; ``target`` and ``foreground`` may
            be left out.
        channels: Channels to show, see :func:`choose_channels`.
        fill: What to show in masked areas: ``'hatch'``, or ``'mean'``, the color in ``masked``.
        min_size: Images whose longer side is shorter are enlarged by a whole factor to at least
            this many pixels, without smoothing.
        note: A line of text below.
    """
    if fill not in ('hatch', 'mean'):
        raise ValueError(f"fill must be 'hatch' or 'mean', got {fill!r}")
    columns = ['original', 'masked', 'reconstruction']
    arrays = {k: v.detach().cpu().numpy() for k, v in pictures.items()}
    if 'target' in arrays and not _alike(arrays['target'], arrays['original']):
        columns.append('target')
    if 'foreground' in arrays:
        columns.append('foreground')

    height, width = arrays['original'].shape[-2:]
    factor = max(1, -(-min_size // max(height, width)))
    rows, unit = [], (np.zeros(1), np.ones(1))
    for i, original in enumerate(arrays['original']):
        limits = display_range(original)
        row = []
        for name in columns:
            span, shown = (unit, None) if name == 'foreground' else (limits, channels)
            image = to_rgb(arrays[name][i], span, shown).repeat(factor, 0).repeat(factor, 1)
            if name == 'masked' and fill == 'hatch':
                image = hatch(image, arrays['mask'][i, 0].repeat(factor, 0).repeat(factor, 1))
            row.append(image)
        rows.append(row)
    return compose(rows, columns, note)


def compose(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[str], note: str = ''
) -> Image.Image:
    """Lay out rows of equally many ``(H, W, 3)`` uint8 images under their captions."""
    font = _font()
    wide = [max(row[j].shape[1] for row in rows) for j in range(len(captions))]
    wide = [max(w, int(font.getlength(text)) + 2) for w, text in zip(wide, captions)]
    tall = [max(image.shape[0] for image in row) for row in rows]
    line = 22
    width = sum(wide) + GUTTER * (len(wide) + 1)
    notes = _wrap(note, font, width - 2 * GUTTER)
    height = line + sum(tall) + GUTTER * len(tall) + line * len(notes) + GUTTER * bool(notes)

    page = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    x = GUTTER
    for j, text in enumerate(captions):
        draw.text((x, 3), text, INK, font)
        y = line
        for i, row in enumerate(rows):
            page.paste(Image.fromarray(np.ascontiguousarray(row[j])), (x, y))
            y += tall[i] + GUTTER
        x += wide[j] + GUTTER
    for k, text in enumerate(notes):
        draw.text((GUTTER, height - line * (len(notes) - k)), text, INK, font)
    return page


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two images differ by no more than rounding, by the contrast of the second."""
    return float(np.abs(a - b).max()) <= 2e-3 * float(b.max() - b.min() + 1e-12)


def _font():
    try:
        return ImageFont.load_default(size=14)
    except (TypeError, OSError, ImportError):  # Pillow before 10.1, or without FreeType
        return ImageFont.load_default()


def _wrap(text: str, font, width: int) -> list[str]:
    lines = []
    for word in text.split():
        if lines and font.getlength(f'{lines[-1]} {word}') <= width:
            lines[-1] += f' {word}'
        else:
            lines.append(word)
    return lines


__getattr__ = old_names(__name__)
