import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from mmpretrain.models.utils import to_2tuple
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from simmim_mm.masking import replace_masked, zero_masked_pixels
from simmim_mm.models.backbones.base import BaseMaskedBackbone
from simmim_mm.registry import MODELS


@MODELS.register_module(name='MaskedBackbone')
def build_masked_backbone(backbone: dict, in_channels: int | None = None) -> BaseMaskedBackbone:
    """Build a backbone of mmpretrain that takes a mask, for those without a class of their own.

    The result is an instance of a subclass of the backbone's class, with its keys and its plain
    features. Masked pixels become 0, the mean, because many patch embeddings overlap; then the
    mask token replaces the masked outputs of ``patch_embed``. ``docs/backbones.md`` has a table of
    which classes of mmpretrain this works for.

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
    derived = dict(out_type='featmap')
    if in_channels is not None:
        derived['in_channels'] = in_channels
    cfg = MODELS.with_defaults({**backbone, 'type': base}, **derived)
    return masked_class(cfg.pop('type'))(**cfg)


@cache
def masked_class(base: type) -> type:
    """Subclass of a backbone whose ``forward`` takes a mask; the same one for the same class."""
    return type(f'Masked{base.__name__}', (_TakesMask, base), {})


class _TakesMask(BaseMaskedBackbone):
    """``forward(x, mask=None)`` for a backbone of mmpretrain that begins with a patch embedding.

    Its own forward stays as it is; a forward hook on ``patch_embed`` puts the token in. (A module
    around ``patch_embed`` would change the names of the weights.)
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._mask: Tensor | None = None
        embed = _patch_embed(self)
        self._measure(embed)
        embed.register_forward_hook(self._replace_masked)

    def init_weights(self) -> None:
        """mmpretrain's, and the mask token."""
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode; see :meth:`BaseMaskedBackbone.forward`."""
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
                f'{_name(self)} does not give maps (B, C, h, w), which a '
                "decoder needs: configure it to (out_type='featmap', gap_before_final_norm=False, "
                '...), or take another backbone'
            )
        return feats

    def _replace_masked(self, module: nn.Module, args: tuple, output: Any) -> Any:
        if self._mask is None:
            return None  # keeps the output
        if isinstance(output, tuple):
            return (replace_masked(output[0], self._mask, self.mask_token), *output[1:])
        return replace_masked(output, self._mask, self.mask_token)

    @torch.no_grad()
    def _measure(self, embed: nn.Module) -> None:
        """Set mask token and attributes by what becomes of an image of zeros."""
        size = to_2tuple(getattr(self, 'img_size', None) or getattr(embed, 'img_size', 224))
        height, width = size
        conv, training = _convolutions(embed)[0], self.training
        self.eval()
        image = conv.weight.new_zeros(1, conv.in_channels, height, width)
        output = embed(image)
        tokens = output[0] if isinstance(output, tuple) else output
        count = math.prod(tokens.shape[2:] if tokens.ndim == 4 else tokens.shape[1:2])
        stride = round((height * width / count) ** 0.5)
        if tokens.ndim < 3 or (height // stride) * (width // stride) != count:
            raise ValueError(
                f'patch_embed of {_name(self)} makes {tuple(tokens.shape[1:])} of an image of '
                f'{height}x{width} pixels, which is not a grid of tokens'
            )
        channels = tokens.shape[1] if tokens.ndim == 4 else tokens.shape[-1]
        self.token_stride = stride
        if not hasattr(self, 'patch_resolution'):  # the grid that weights of another are fitted to
            self.patch_resolution = height // stride, width // stride
        self.mask_token = nn.Parameter(torch.zeros(1, 1, channels))
        try:
            with torch.random.fork_rng([]):
                feats = super(BaseMaskedBackbone, self).forward(image)
        except (RuntimeError, AssertionError, ValueError):  # takes images of another size
            feats = ()
        if _are_maps(feats) and not self.out_channels:  # ViTSAM uses the name for something else
            self.out_channels = tuple(feat.shape[1] for feat in feats)
            self.out_strides = tuple(height // feat.shape[2] for feat in feats)
        self.train(training)


def _are_maps(feats: Sequence) -> bool:
    return all(isinstance(feat, Tensor) and feat.ndim == 4 for feat in feats)


def _patch_embed(backbone: nn.Module) -> nn.Module:
    modules = dict(backbone.named_modules())
    for name in ('patch_embed', 'patch_embed1', 'patch_embeds.0'):  # most, VAN, Twins
        if name in modules and _convolutions(modules[name]):
            return modules[name]
    raise ValueError(
        f'{_name(backbone)} has no patch_embed with a convolution, behind which a mask token could '
        'be put: docs/backbones.md lists the backbones that have'
    )


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def _name(backbone: nn.Module) -> str:
    return type(backbone).__bases__[-1].__name__
