# SimMIM, pretrained for 800 epochs: 83.8 in the paper. Mean of the patches, then a norm.
_base_ = ['_base_/finetune_simmim.py', '_base_/backbones/simmim-vit-base-p16.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        out_type='avg_featmap',
        final_norm=False,
        init_cfg=pretrained,
    ),
    head=dict(in_channels=_base_.channels),
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
