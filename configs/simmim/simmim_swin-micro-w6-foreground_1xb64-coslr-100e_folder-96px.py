# SimMIM that is also told where the objects are (docs/foreground.md).
_base_ = 'simmim_swin-micro-w6_1xb64-coslr-100e_folder-96px.py'

# An estimate. Better, if you have them, a label map beside each image or the boxes of a COCO file:
#   dict(type='LoadForeground', folders=('images', 'labels'))
#   dict(type='BoxForeground', ann_file='annotations.json')
foreground = dict(type='SaliencyForeground')
foreground_weight = 0.1  # of its loss, beside the reconstruction's

pack = dict(type='PackInputs', algorithm_keys=['mask', 'foreground'])
model = dict(
    foreground=dict(
        type='ForegroundBranch',
        neck=dict(type='PixelShuffleDecoder', in_channels=384, stride=32, out_channels=1),
        loss_weight=foreground_weight,
    )
)
train_dataloader = dict(
    dataset=dict(
        pipeline=[_base_.load, foreground, _base_.crop, _base_.flip, _base_.mask, pack],
    )
)
