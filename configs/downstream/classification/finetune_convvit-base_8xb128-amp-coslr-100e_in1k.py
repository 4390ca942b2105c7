# Fine-tune ConvMAE-B on ImageNet-1k at 224 pixels.
#
# The head gets the mean of the last map, then a norm.
_base_ = ['_base_/finetune_mae.py', '../_base_/backbones/convvit-base.py']

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1, frozen_pos_embed=False, final_norm=False),
    neck=dict(type='simmim_mm.AveragePool', norm='layer'),
)
optim_wrapper = dict(dtype='bfloat16')  # fp16 overflows now and then, the authors say
