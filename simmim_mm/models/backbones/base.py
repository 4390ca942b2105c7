from abc import ABCMeta, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from mmcv.cnn.bricks.drop import DropPath
from mmengine.dist import is_distributed
from mmengine.model import BaseModule, PretrainedInit, update_init_info
from torch import Tensor, nn

from simmim_mm.checkpoint.fit_weights import fit_state_dict
from simmim_mm.checkpoint.load_backbone import load_backbone
from simmim_mm.masking import fit_mask, replace_masked
from simmim_mm.models.backbones.units import UnitGroup


class BaseMaskedBackbone(BaseModule, metaclass=ABCMeta):
    """Base of all backbones that take a mask.

    It stands alone or in front of the class whose weights the backbone has, as in
    ``class MaskedSwin(BaseMaskedBackbone, SwinTransformer)``. A subclass implements
    :meth:`forward` and sets those of the attributes below that differ from the defaults.

    Every way of loading, ``load_state_dict``, ``load_from`` and
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``, fits entries of
    another window, image size or number of channels to the model
    (:func:`~simmim_mm.checkpoint.fit_weights.fit_state_dict`). ``init_cfg`` also reads the file
    without running anything in it, reports what became of every entry, and refuses a file that does
    not fit (:func:`~simmim_mm.checkpoint.load_backbone.load_backbone`).

    Attributes:
        mask_mode: ``'token'``: a learned mask token takes the place of masked tokens.
            ``'gather'``: only visible tokens are encoded.
        token_stride: Side of a token in pixels.
        out_channels: Channels of each map that :meth:`forward` returns.
        out_strides: Pixels per position of each of these maps; empty: not known.
        img_size: Height and width that it was built for; None: images of any size.
        with_cls_token: A class token stands in front of the visible tokens (gather mode).
        mask_token: Asks for no gradient before it is used under a mask, so that a detector on
            several processes has no parameter without one. ``MaskedImageModel`` asks for it.
        pruned_arguments: Arguments without which not all :meth:`unit_groups` can be pruned.
    """

    mask_mode: str = 'token'
    token_stride: int
    out_channels: tuple[int, ...] = ()
    out_strides: tuple[int, ...] = ()
    img_size: Any = None
    with_cls_token: bool = False
    mask_token: nn.Parameter
    pruned_arguments: ClassVar[dict[str, Any]] = {}

    if TYPE_CHECKING:  # parts of the class behind
        patch_embed: Any
        downsample_layers: Any
        patch_resolution: Any
        layers: Any
        stages: Any

        def __getattr__(self, name: str) -> Any: ...

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Encode.

        Args:
            x: ``(B, C, H, W)`` normalized images.
            mask: ``(B, h, w)`` boolean, True = masked, on the token grid or a coarser one of square
                blocks (:meth:`token_mask` brings it to the tokens); in gather mode with the same
                number of visible tokens in every image. None masks nothing. ValueError if it does
                not fit the images.

        Returns:
            Maps ``(B, C_i, H / s_i, W / s_i)``; in gather mode with a mask, the visible tokens in
            raster order ``(B, n_visible, C)``, behind the class token if there is one.
        """

    @property
    def stem_weight(self) -> str:
        """Name of the weight that takes the image, fitted to other numbers of channels."""
        convolutions = (n for n, m in self.named_modules() if isinstance(m, nn.Conv2d))
        return f'{next(convolutions)}.weight'

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of tokens in an image of a size in pixels."""
        return height // self.token_stride, width // self.token_stride

    def token_mask(self, mask: Tensor, x: Tensor) -> Tensor:
        """The mask of the images ``x`` on the grid of their tokens; see :func:`fit_mask`."""
        return fit_mask(mask, len(x), self.token_grid(*x.shape[-2:]), self.token_stride)

    def replace_masked(self, x: Tensor, mask: Tensor) -> Tensor:
        """Put the mask token in the place of masked tokens; see :func:`masking.replace_masked`."""
        token = self.mask_token
        if torch.is_grad_enabled() and not token.requires_grad:
            # It would not be among the parameters whose gradients are averaged.
            if self.training and is_distributed():
                raise ValueError(
                    'the mask token is to be trained: call backbone.mask_token.requires_grad_() '
                    'before the model is wrapped for distributed training'
                )
            token.requires_grad_()
        return replace_masked(x, mask, token)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As of ``nn.Module``, which calls it where a parameter is assigned."""
        if name == 'mask_token' and param is not None:
            param.requires_grad_(False)
        super().register_parameter(name, param)

    def train(self, mode: bool = True) -> Any:
        """As ``nn.Module.train``; those of mmpretrain do not return the module."""
        super().train(mode)
        return self

    def init_weights(self) -> None:
        """Initialize as the authors do; then load the checkpoint of ``init_cfg``, if any."""
        if self.is_init:  # the class behind warns
            return super().init_weights()
        given = self.init_cfg
        cfgs = [given] if isinstance(given, dict) else given or []
        files = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        self.init_cfg = [cfg for cfg in cfgs if cfg not in files] or None
        own = type(self).reset_weights is not BaseMaskedBackbone.reset_weights
        if 'mask_token' in self._parameters and not own:  # the class behind does not know it
            nn.init.trunc_normal_(self.mask_token, std=0.02)
        super().init_weights()
        self.reset_weights()
        drop_bounds(self)
        self.init_cfg = given
        for cfg in files:
            load_backbone(self, cfg['checkpoint'], cfg.get('prefix'))
            if hasattr(self, '_params_init_info'):  # a larger model logs later what came from where
                update_init_info(self, f'loaded from {cfg["checkpoint"]}')

    def reset_weights(self) -> None:
        """The authors' initialization, where it differs from that of the class behind."""

    def unit_groups(self) -> list[UnitGroup]:
        """Units that pruning can take out, if the backbone has arguments for their numbers."""
        return []

    def fit_state_dict(self, state_dict: dict, prefix: str = '') -> None:
        """Bring the entries under ``prefix`` to the shapes of this model, in place."""
        fit_state_dict(self, state_dict, prefix)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        self.fit_state_dict(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> Any:
        """Layer of a parameter and number of layers, for layer-wise learning rates."""
        inherited = getattr(super(), 'get_layer_depth', None)  # of the class behind
        if inherited is None:
            raise NotImplementedError(
                f'{type(self).__name__} does not say which layer a parameter is in: define '
                'get_layer_depth, or train without layer-wise learning rates'
            )
        return inherited(param_name, prefix)


@torch.no_grad()
def drop_bounds(model: nn.Module) -> None:
    """Replace initial weights that are the bound of ``trunc_normal_``, 2, by the mean, 0.

    mmengine's, and PyTorch's before 2.14, is ``erfinv`` of a float32 uniform, and once in ten
    million values or so gives the bound itself: at a std of 0.02, a weight of a hundred sigma.
    """
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.masked_fill_(parameter.abs() == 2, 0.0)


def as_python_rates(model: nn.Module) -> None:
    """Make rates of drop path Python floats: compilers take the numpy ones of mmpretrain for data.

    A branch that depends on data breaks their graph.
    """
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)
