# SimMIM, Swin-T at 192 pixels, on a folder of your own images and one GPU: the one to start from.
#
# Copy this file and change the lines below, or
#
#   simmim train simmim_swin-tiny-w6_1xb64-amp-coslr-100e_folder-192px --data /my/images
_base_ = [
    '../_base_/datasets/folder.py',
    '../_base_/models/simmim_swin-base.py',
    '../_base_/schedules/simmim_100e.py',
    '../_base_/default_runtime.py',
]

data_root = 'data/images'  # a folder, searched recursively; or a list of files, see ImageDataset
lr = 2e-4

# For images that are not RGB (TIFF, npy): their channels, and the mean and standard deviation of
# each in the value range of the files. Gray images of 8 bits: 'gray', [116.0], [57.0].
channels = 'rgb'  # 'gray', or the number of channels that every file has
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]

load = dict(_base_.load, channels=channels)
model = dict(data_preprocessor=dict(mean=mean, std=std), backbone=dict(arch='tiny'))
train_dataloader = dict(
    dataset=dict(
        data_root=data_root, pipeline=[load, _base_.crop, _base_.flip, _base_.mask, _base_.pack]
    )
)
optim_wrapper = dict(optimizer=dict(lr=lr))
auto_scale_lr = dict(base_batch_size=64)
default_hooks = dict(checkpoint=dict(interval=10))  # epochs of a folder are short
