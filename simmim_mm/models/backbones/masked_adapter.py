from functools import cache
from inspect import signature

import torch
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from simmim_mm.models.backbones.mask_token import check_mask, zero_masked_pixels
from simmim_mm.registry import MODELS


@MODELS.register_module(name='MaskedBackbone')
def build_masked_backbone(backbone: dict) -> nn.Module:
    """Build a backbone of mmpretrain that takes a mask, for those without a class of their own.

    The result is an instance of a subclass of the backbone's class, with its keys and its plain
    features. Masked pixels become 0, the mean, because many patch embeddings overlap; then the
    mask token replaces the masked outputs of ``patch_embed``. ``docs/backbones.md`` has a table of
    which classes of mmpretrain this works for.

    Args:
        backbone: Config of the backbone, ``init_cfg`` included. ``out_type`` is ``'featmap'``
            unless given, where the class has that argument; other ways to ask for maps
            (``gap_before_final_norm=False``) are up to the config.

    Raises:
        ValueError: If the class has no ``patch_embed`` that turns an image into a grid of tokens.
    """
    cfg = dict(backbone)
    base = MMPRETRAIN_MODELS.get(cfg.pop('type'))
    if not (isinstance(base, type) and issubclass(base, nn.Module)):
        raise ValueError(f'backbone={backbone!r} is not the config of a backbone in mmpretrain')
    if any('out_type' in signature(c.__init__).parameters for c in base.__mro__):
        cfg.setdefault('out_type', 'featmap')
    return masked_class(base)(**cfg)


@cache
def masked_class(base: type) -> type:
    """Subclass of a backbone whose ``forward`` takes a mask; the same one for the same class."""
    return type(f'Masked{base.__name__}', (_TakesMask, base), {})


class _TakesMask:
    """Mixin: ``forward(x, mask=None)`` for a backbone that begins with a patch embedding.

    The forward of the backbone is not ours, so the token is put in by a forward hook, PyTorch's own
    way to change what a module returns: a module around ``patch_embed`` would change the keys.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._mask: Tensor | None = None
        embed = _patch_embed(self)
        self.token_stride, channels = _tokens_of(self, embed)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, channels))
        embed.register_forward_hook(self._replace_masked)

    def init_weights(self) -> None:
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        return self  # some of mmpretrain's forget to

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """As the backbone's; ``mask`` is ``(B, h, w)`` boolean on the grid of its tokens."""
        if mask is not None:
            grid = tuple(side // self.token_stride for side in x.shape[-2:])
            check_mask(mask, len(x), grid, self.token_stride)
            x = zero_masked_pixels(x, mask)
        self._mask = mask
        try:
            feats = super().forward(x)
        finally:
            self._mask = None
        if mask is not None and any(getattr(feat, 'ndim', None) != 4 for feat in feats):
            raise ValueError(
                f'{_name(self)} does not give maps (B, C, h, w), which a '
                "decoder needs: configure it to (out_type='featmap', gap_before_final_norm=False, "
                '...), or take another backbone'
            )
        return feats

    def _replace_masked(self, module: nn.Module, args: tuple, output):
        if self._mask is None:
            return None  # keeps the output
        tokens = output[0] if isinstance(output, tuple) else output
        token = self.mask_token.to(tokens.dtype).flatten()
        if tokens.ndim == 4:  # (B, C, h, w)
            tokens = torch.where(self._mask.unsqueeze(1), token.view(-1, 1, 1), tokens)
        else:  # (B, h * w, ..., C)
            mask = self._mask.flatten(1)
            tokens = torch.where(mask.view(*mask.shape, *[1] * (tokens.ndim - 2)), token, tokens)
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens


def _patch_embed(backbone: nn.Module) -> nn.Module:
    modules = dict(backbone.named_modules())
    for name in ('patch_embed', 'patch_embed1', 'patch_embeds.0'):  # most, VAN, Twins
        if name in modules and _convolutions(modules[name]):
            return modules[name]
    raise ValueError(
        f'{_name(backbone)} has no patch_embed with a convolution, behind which a mask token could '
        'be put: docs/backbones.md lists the backbones that have'
    )


@torch.no_grad()
def _tokens_of(backbone: nn.Module, embed: nn.Module) -> tuple[int, int]:
    """Pixels per token and channels of the tokens that ``embed`` makes."""
    size = getattr(backbone, 'img_size', getattr(embed, 'img_size', 224))
    height, width = (size, size) if isinstance(size, int) else size
    conv, training = _convolutions(embed)[0], embed.training
    image = conv.weight.new_zeros(1, conv.in_channels, height, width)
    output = embed.eval()(image)
    embed.train(training)
    tokens = output[0] if isinstance(output, tuple) else output
    channels = tokens.shape[1] if tokens.ndim == 4 else tokens.shape[-1]
    count = tokens.shape[-2] * tokens.shape[-1] if tokens.ndim == 4 else tokens.shape[1]
    stride = round((height * width / count) ** 0.5)
    if tokens.ndim < 3 or (height // stride) * (width // stride) != count:
        raise ValueError(
            f'patch_embed of {_name(backbone)} makes {tuple(tokens.shape[1:])} of an image of '
            f'{height}x{width} pixels, which is not a grid of tokens'
        )
    return stride, channels


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def _name(backbone: nn.Module) -> str:
    return type(backbone).__bases__[-1].__name__
