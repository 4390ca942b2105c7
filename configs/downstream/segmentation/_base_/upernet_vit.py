# By path: `mmseg::` does not resolve when mmseg is installed as onedl-mmsegmentation.
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/models/upernet_mae.py'
