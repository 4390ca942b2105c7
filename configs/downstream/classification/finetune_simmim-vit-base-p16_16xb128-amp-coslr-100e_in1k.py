# Fine-tune ViT-B of SimMIM on ImageNet-1k at 224 pixels.
#
# The head gets the mean of the patches, then a norm.
_base_ = ['_base_/finetune_simmim.py', '../_base_/backbones/simmim-vit-base-p16.py']

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1, out_type='avg_featmap', final_norm=False)
)
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.65))
