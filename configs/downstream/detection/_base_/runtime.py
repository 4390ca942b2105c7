_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['simmim_mm'], allow_failed_imports=False)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
randomness = dict(seed=0)
find_unused_parameters = True  # the mask token takes no part after the pretraining
