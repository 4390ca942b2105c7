# SimMIM that also learns where the objects are, with a Swin of 5M parameters at 96 pixels.
#
# docs/how-to/foreground.md explains it.
_base_ = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py'

# An estimate. If you have them, a segmentation map beside each image or the boxes of a COCO file
# are better:
#   dict(type='LoadForeground', folders=('images', 'labels'))
#   dict(type='BoxForeground', ann_file='annotations.json')
foreground = dict(type='SaliencyForeground')
foreground_weight = 0.1  # of its loss; the reconstruction's has 1

pack = dict(type='PackInputs', algorithm_keys=['mask', 'foreground', 'nodata'])
model = dict(
    foreground=dict(
        type='ForegroundBranch',
        neck=dict(type='PixelShuffleDecoder'),
        loss_weight=foreground_weight,
    )
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[_base_.load, foreground, _base_.crop, _base_.flip, _base_.mask, pack],
    )
)
