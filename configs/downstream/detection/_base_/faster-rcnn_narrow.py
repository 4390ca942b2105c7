# The same without masks.
_base_ = 'mask-rcnn_narrow.py'

model = dict(type='FasterRCNN', roi_head=dict(mask_roi_extractor=None, mask_head=None))
