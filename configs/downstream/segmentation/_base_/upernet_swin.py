_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/models/upernet_swin.py'
