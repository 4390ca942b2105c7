# MAE, pretrained for 1600 epochs: 83.6 in the paper. Mean of the patches, then a norm.
_base_ = ['_base_/finetune_mae.py', '_base_/backbones/mae-vit-base-p16.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        out_type='avg_featmap',
        final_norm=False,
        init_cfg=pretrained,
    ),
    head=dict(in_channels=_base_.channels),
)
