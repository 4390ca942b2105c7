"""Parts of classifiers, detectors and segmenters; nothing of the pretraining is imported."""

from .frozen_classifier import FrozenClassifier
from .pooling import AttentivePool, AveragePool
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['AttentivePool', 'AveragePool', 'FrozenClassifier', 'SimpleFeaturePyramid']
