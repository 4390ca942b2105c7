# ConvMAE, pretrained for 1600 epochs: 85.0 in the paper. Mean of the last map, then a norm.
_base_ = ['_base_/finetune_mae.py', '_base_/backbones/convvit-base.py']

checkpoint = None  # of the pretraining; None: from scratch
pretrained = checkpoint and dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        final_norm=False,
        init_cfg=pretrained,
    ),
    neck=dict(type='simmim_mm.AveragePool', in_channels=_base_.channels, norm='layer'),
    head=dict(in_channels=_base_.channels),
)
optim_wrapper = dict(dtype='bfloat16')  # fp16 overflows now and then, the authors say
