"""What our backbones share for weights that come from somewhere."""

from typing import Any

from mmengine.model import PretrainedInit, update_init_info

from simmim_mm.checkpoint.fit_weights import fit_state_dict


class PretrainedBackbone:
    """Mixin, in front of the class whose weights it is about.

    Every way of loading, ``load_state_dict``, ``load_from`` and
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone.')``, fits entries of
    another window, image size or number of channels to the model
    (:func:`~simmim_mm.checkpoint.fit_weights.fit_state_dict`). ``init_cfg`` moreover reads the file without running
    anything in it, reports what became of every entry, and refuses a file that does not fit
    (:func:`simmim_mm.checkpoint.load_backbone`).

    Attributes:
        stem: Name of the convolution that takes the image.
    """

    stem = 'patch_embed.projection.weight'

    def init_weights(self) -> None:
        """Initialize as the authors; then load the checkpoint of ``init_cfg``, if it names one."""
        if self.is_init:  # the class beneath warns
            return super().init_weights()
        given = self.init_cfg
        cfgs = [given] if isinstance(given, dict) else given or []
        files = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        self.init_cfg = [cfg for cfg in cfgs if cfg not in files] or None
        super().init_weights()
        self.reset_weights()
        self.init_cfg = given
        for cfg in files:
            from simmim_mm.checkpoint.load_backbone import load_backbone

            load_backbone(self, cfg['checkpoint'], cfg.get('prefix'))
            if hasattr(self, '_params_init_info'):  # a larger model tells later what came whence
                update_init_info(self, f'loaded from {cfg["checkpoint"]}')

    def reset_weights(self) -> None:
        """The authors' initialization, where it is another than that of the class beneath."""

    def fit_state_dict(self, state_dict: dict, prefix: str = '') -> None:
        """Bring the entries under ``prefix`` to the shapes of this model, in place."""
        fit_state_dict(self, state_dict, prefix)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        self.fit_state_dict(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
