import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from mmpretrain.models.utils import to_2tuple
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from simmim_mm.masking import zero_masked_pixels
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module(name='MaskedBackbone')
def build_masked_backbone(backbone: dict, in_channels: int | None = None) -> BaseMaskedBackbone:
    """Build a backbone of mmpretrain that takes a mask, for those without a class of their own.

    The result is an instance of a subclass of the backbone's class, with its keys and its plain
    features. Masked pixels become 0, the mean, because many patch embeddings overlap; then the
    mask token replaces the masked outputs of ``patch_embed``. ``docs/reference/backbones.md``
    has a table of which classes of mmpretrain this works for.

    Args:
        backbone: Config of the backbone, ``init_cfg`` included. ``out_type`` is ``'featmap'``
            unless given, where the class has that argument; other ways to ask for maps
            (``gap_before_final_norm=False``) are up to the config.
        in_channels: Channels of the images, where the config does not say so.

    Raises:
        ValueError: If the class has no ``patch_embed`` that turns an image into a grid of tokens.
    """
    base = MMPRETRAIN_MODELS.get(backbone['type'])
    if not (isinstance(base, type) and issubclass(base, nn.Module)):
        raise ValueError(f'backbone={backbone!r} is not the config of a backbone in mmpretrain')
    derived = {} if in_channels is None else dict(in_channels=in_channels)
    cfg = MODELS.with_defaults({**backbone, 'type': base}, out_type='featmap', **derived)
    return masked_class(cfg.pop('type'))(**cfg)


@cache
def masked_class(base: type) -> type:
    """Subclass of a backbone whose ``forward`` takes a mask; the same one for the same class."""
    return type(f'Masked{base.__name__}', (MaskedByHook, base), {})


class MaskedByHook(BaseMaskedBackbone):
    """``forward(x, mask=None)`` for a backbone of mmpretrain that begins by making tokens.

    Its own forward stays as it is: masked pixels become 0, the mean, and a forward hook on the
    module that makes the tokens puts the mask token in. (A module around that one would change the
    names of the weights.)
    """

    token_modules: tuple[str, ...] = ('patch_embed', 'patch_embed1', 'patch_embeds.0')  # VAN, Twins

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.img_size is None and 'img_size' in kwargs:  # not all of mmpretrain's keep it
            self.img_size = to_2tuple(kwargs['img_size'])
        self._name, self._mask = type(self).__bases__[-1].__name__, None
        kinds = (nn.Conv2d, nn.MaxPool2d)
        for name, module in self.named_modules():
            if name in self.token_modules and any(isinstance(m, kinds) for m in module.modules()):
                self._measure(module)
                module.register_forward_hook(self._replace_masked)
                return
        raise ValueError(
            f'{self._name} has no patch_embed with a convolution, behind which a mask token could '
            'be put: docs/reference/backbones.md lists the backbones that have'
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        if mask is not None:
            mask = self.token_mask(mask, x)
            x = zero_masked_pixels(x, mask)
        self._mask = mask
        try:
            feats = super(BaseMaskedBackbone, self).forward(x)
        finally:
            self._mask = None
        if mask is not None and not _are_maps(feats):
            raise ValueError(
                f'{self._name} does not give maps (B, C, h, w), which a decoder needs: configure '
                "it to (out_type='featmap', gap_before_final_norm=False, ...), or take another "
                'backbone'
            )
        return feats

    def _replace_masked(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._mask is None:
            return None  # keeps the output
        if isinstance(output, tuple):
            return (self.replace_masked(output[0], self._mask), *output[1:])
        return self.replace_masked(output, self._mask)

    @torch.no_grad()
    def _measure(self, embed: nn.Module) -> None:
        """Set mask token and attributes, by what becomes of an image of zeros."""
        height, width = to_2tuple(self.img_size or getattr(embed, 'img_size', 224))
        seen: list[Any] = []
        hook = embed.register_forward_hook(lambda module, args, output: seen.append(output))
        training, feats = self.training, ()
        self.eval()
        try:
            with torch.random.fork_rng([]):
                kernel = self.get_parameter(self.stem_weight)
                image = kernel.new_zeros(1, kernel.shape[1], height, width)
                feats = super(BaseMaskedBackbone, self).forward(image)
        except (RuntimeError, AssertionError, ValueError):
            if not seen:
                raise  # else it takes images of another size
        hook.remove()
        self.train(training)

        tokens = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
        count = math.prod(tokens.shape[2:] if tokens.ndim == 4 else tokens.shape[1:2])
        stride = round((height * width / count) ** 0.5)
        grid = height // stride, width // stride
        if tokens.ndim < 3 or math.prod(grid) != count:
            raise ValueError(
                f'patch_embed of {self._name} makes {tuple(tokens.shape[1:])} of an image of '
                f'{height}x{width} pixels, which is not a grid of tokens'
            )
        self.token_stride = stride
        channels = tokens.shape[1 if tokens.ndim == 4 else -1]
        self.mask_token = nn.Parameter(torch.zeros(1, 1, channels))
        if not hasattr(self, 'patch_resolution'):  # the grid that weights of another are fitted to
            self.patch_resolution = grid
        if _are_maps(feats) and not self.out_channels:  # ViTSAM uses the name for something else
            self.out_channels = tuple(feat.shape[1] for feat in feats)
            self.out_strides = tuple(height // feat.shape[2] for feat in feats)


def _are_maps(feats: Sequence) -> bool:
    return all(isinstance(feat, Tensor) and feat.ndim == 4 for feat in feats)
