# mmdet's Mask R-CNN with narrower heads on fewer proposals, for a CPU.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

width = 96
taken = dict(in_channels=width)

model = dict(
    neck=dict(out_channels=width),
    rpn_head=dict(taken, feat_channels=width),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(taken, fc_out_channels=256),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(taken, conv_out_channels=width, num_convs=2),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=250), rcnn=dict(sampler=dict(num=64))
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=250)),
)
