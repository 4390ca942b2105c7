"""Learning rates that grow from the stem of a backbone to its end, as fine-tuning wants them."""

from collections import defaultdict
from typing import Any

from mmengine.logging import MMLogger
from mmpretrain.engine import LearningRateDecayOptimWrapperConstructor
from rich.console import Console
from rich.table import Table
from torch import nn

from simmim_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer-wise decay for the backbone of any model: classifier, detector, segmenter.

    A parameter of layer l of the backbone's n layers learns at ``lr * layer_decay_rate ** (n - 1 -
    l)`` (BEiT, arXiv 2106.08254; MAE, appendix A.1; SimMIM, section 4.1). Layer 0 is the patch
    embedding with the position embedding, layers 1 to n - 2 are the blocks; all behind the
    backbone's blocks, that is its last norms, neck and heads, is layer n - 1 and learns at ``lr``.
    The backbone says which layer a parameter belongs to, by ``get_layer_depth(name, prefix)`` as
    mmpretrain's do. The rates are logged when training starts.

    ``paramwise_cfg`` holds ``layer_decay_rate``, in (0, 1], and mmpretrain's ``bias_decay_mult``,
    ``norm_decay_mult``, ``flat_decay_mult`` and ``custom_keys``, whose ``lr_mult`` multiplies the
    layer's rate. ValueError if it is not in that range, or no backbone knows its layers.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise ValueError(
                'paramwise_cfg of LayerDecayOptimWrapperConstructor needs layer_decay_rate, a '
                f'number above 0 and at most 1 (1: the same rate for all), got {rate!r}'
            )

    def add_params(
        self, params: list, module: nn.Module, prefix: str = '', get_layer_depth=None, **kwargs
    ) -> None:
        if get_layer_depth is not None:  # a submodule
            super().add_params(params, module, prefix, get_layer_depth)
            return
        backbone: Any = getattr(module, 'backbone', None)
        if not hasattr(backbone, 'get_layer_depth'):
            raise ValueError(
                f'layer decay needs to know the layers of the backbone of {type(module).__name__}, '
                f'and {type(backbone).__name__} has no get_layer_depth(name, prefix): define it, '
                'or remove constructor and layer_decay_rate from optim_wrapper'
            )
        # A mask token keeps its place in the groups, which saved states of optimizers have.
        tokens = [p for n, p in module.named_parameters() if n.endswith('mask_token')]
        frozen = [token for token in tokens if not token.requires_grad]
        for token in frozen:
            token.requires_grad_()
        super().add_params(
            params, module, prefix, lambda name: backbone.get_layer_depth(name, 'backbone.')
        )
        for token in frozen:
            token.requires_grad_(False)
        params[:] = self._merged_and_logged(params)

    def _merged_and_logged(self, params: list) -> list:
        """One group for all parameters of equal settings: optimizers work group by group."""
        groups, names, seen = {}, defaultdict(list), set()
        for param in params:
            tensor, name = param.pop('params')[0], param.pop('param_name')
            if id(tensor) in seen:  # shared by two modules
                continue
            seen.add(id(tensor))
            param['lr'] *= param.pop('lr_mult', 1.0)
            key = tuple(sorted(param.items()))
            groups.setdefault(key, dict(params=[], **param))['params'].append(tensor)
            names[key].append(name)

        table = Table('layer', 'lr', 'weight decay', 'parameters', 'of', box=None)
        for key, group in sorted(groups.items(), key=lambda item: item[1]['layer_id']):
            table.add_row(
                str(group['layer_id']),
                f'{group["lr"]:.3g}',
                f'{group.get("weight_decay", 0):.3g}',
                f'{sum(p.numel() for p in group["params"]):,}',
                ', '.join(dict.fromkeys(map(_module, names[key]))),
            )
        console = Console(width=120, no_color=True)
        with console.capture() as text:
            console.print(table)
        rate = self.paramwise_cfg['layer_decay_rate']
        MMLogger.get_current_instance().info(
            f'Learning rates, {self.base_lr:.3g} decayed by {rate:g} from layer to layer:\n'
            + text.get().rstrip()
        )
        return list(groups.values())


def _module(name: str) -> str:
    """``stages.0.blocks.1`` of ``backbone.stages.0.blocks.1.norm1.weight``, ``neck`` of a neck."""
    parts = name.split('.')
    if parts[0] != 'backbone':
        return parts[0]
    last = max((i for i, part in enumerate(parts[:5]) if part.isdigit()), default=1)
    return '.'.join(parts[1 : last + 1])
