# Fine-tune a ViT of 4M parameters on your own class folders, at 96 pixels without a GPU.
_base_ = ['_base_/finetune_folder.py', '../_base_/backbones/vit-micro-p8.py']

model = dict(
    backbone=dict(
        _base_.backbone,
        drop_path_rate=0.1,
        frozen_pos_embed=False,
        out_type='avg_featmap',
        final_norm=False,
    )
)
