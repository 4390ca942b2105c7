"""Parts of classifiers, detectors and segmenters; nothing of the pretraining is imported."""

from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['SimpleFeaturePyramid']
