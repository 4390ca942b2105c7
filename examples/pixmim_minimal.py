"""PixMIM (arXiv 2303.02416) on one page: python examples/pixmim_minimal.py.

Two changes to a pixel method, here MAE: the target lacks the high frequencies, and the crop keeps
more of the objects. The method itself stays. Seconds on a CPU, on crops of a photograph.
"""

import torch
import torch.nn.functional as F
from mae_minimal import MAE, SIZE, random_masks, train
from skimage import data
from torch import Tensor

RADIUS = 40 / 112  # cut-off, as a fraction of the Nyquist frequency (section 4.1)


def low_frequencies(images: Tensor) -> Tensor:
    """(B, C, H, W) without what is above the cut-off. The mean passes, so normalization is kept.

    The authors' filter sits half a frequency off the center and gives a complex image, of which
    they take the absolute value: `LowFreq(mode='reference')` in the library.
    """
    k = torch.fft.fftfreq(SIZE, 1 / SIZE, dtype=torch.float64) / (RADIUS * SIZE / 2)
    gain = (k[:, None].square() + k[None].square() <= 1 + 1e-9).to(images.dtype)
    spectrum = torch.fft.fft(torch.fft.rfft(images), dim=-2) * gain[:, : SIZE // 2 + 1]
    return torch.fft.irfft(torch.fft.ifft(spectrum, dim=-2), n=SIZE)


def simple_resized_crops(n: int) -> Tensor:
    """Normalized crops of a photograph resized as a whole (section 3.3).

    The shorter side becomes the size of the crop, so that nearly all of each object stays.
    """
    photo = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None] / 255
    height, width = photo.shape[-2:]
    scale = SIZE / min(height, width)
    size = round(height * scale), round(width * scale)
    small = F.interpolate(photo, size, mode='bicubic', antialias=True)
    padded = F.pad(small, (4, 4, 4, 4), mode='reflect')[0]
    rows = torch.randint(0, padded.shape[1] - SIZE + 1, (n,)).tolist()
    columns = torch.randint(0, padded.shape[2] - SIZE + 1, (n,)).tolist()
    crops = torch.stack([padded[:, y : y + SIZE, x : x + SIZE] for y, x in zip(rows, columns)])
    return (crops - crops.mean((0, 2, 3), keepdim=True)) / crops.std((0, 2, 3), keepdim=True)


def loss_of(model: MAE, images: Tensor, mask: Tensor) -> Tensor:
    """MAE's loss, on the filtered images as the target."""
    return model(images, mask, target=low_frequencies(images))


if __name__ == '__main__':
    torch.manual_seed(0)
    model = MAE()
    train(model, lambda: loss_of(model, simple_resized_crops(16), random_masks(16)))
