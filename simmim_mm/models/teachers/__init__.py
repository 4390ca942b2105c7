from simmim_mm.models.teachers.base import BaseTeacher
from simmim_mm.models.teachers.ema_target import EMATarget
from simmim_mm.models.teachers.feature_teacher import FeatureTeacher
from simmim_mm.models.teachers.timm_features import TimmFeatures

__all__ = ['BaseTeacher', 'EMATarget', 'FeatureTeacher', 'TimmFeatures']
