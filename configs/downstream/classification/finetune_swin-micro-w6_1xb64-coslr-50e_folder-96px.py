# Fine-tune a Swin of 5M parameters on your own class folders, at 96 pixels without a GPU.
#
#   simmim train CONFIG --pretrained PRETRAINED.pth --cfg-options \
#       train_dataloader.dataset.data_root=/my/images \
#       val_dataloader.dataset.data_root=/my/images \
#       model.head.num_classes=7 model.data_preprocessor.num_classes=7
_base_ = ['_base_/finetune_folder.py', '../_base_/backbones/swin-micro.py']

model = dict(
    backbone=dict(_base_.backbone, drop_path_rate=0.1),
    neck=dict(type='GlobalAveragePooling'),
)
