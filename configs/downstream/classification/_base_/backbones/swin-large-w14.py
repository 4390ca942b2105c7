# Pretrained by configs/simmim/simmim_swin-large-w12_*.py, then at 224 pixels, window 14.
channels = 1536
backbone = dict(type='simmim_mm.MaskedSwin', arch='large', img_size=224, window_size=14)
