# The two parts of PixMIM (arXiv 2303.02416), for a config of any pixel method to use: a target
# without high frequencies, put before the method's own target, and a crop that keeps the object.

# The radius as a fraction of the Nyquist frequency: 40 bins at the paper's 224 pixels, and the same
# detail in cycles per pixel at other sizes. `mode='centered'` is the exact filter.
pixmim_target = [dict(type='LowFreq', radius_ratio=40 / 112, mode='reference')]
pixmim_crop = dict(type='SimpleResizedCrop', size=224)
