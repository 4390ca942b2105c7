# Fine-tune ViT-B of MAE on ImageNet-1k at 224 pixels.
#
# The head gets the mean of the patches, then a norm.
_base_ = ['_base_/finetune_mae.py', '../_base_/backbones/mae-vit-base-p16.py']

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        out_type='avg_featmap',
        final_norm=False,
    )
)
