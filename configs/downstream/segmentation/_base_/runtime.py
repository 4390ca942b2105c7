# mmseg's, by its path: `mmseg::` does not resolve when it is installed as onedl-mmsegmentation.
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/default_runtime.py'

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
randomness = dict(seed=0)
find_unused_parameters = True  # the mask token takes no part after the pretraining
