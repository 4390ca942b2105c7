"""Parts of classifiers, detectors and segmenters; nothing of the pretraining is imported."""

from simmim_mm.models.downstream.classifier import Classifier
from simmim_mm.models.downstream.frozen_classifier import FrozenClassifier
from simmim_mm.models.downstream.multichannel_preprocessor import MultichannelPreprocessor
from simmim_mm.models.downstream.pooling import AttentivePool, AveragePool
from simmim_mm.models.downstream.simple_feature_pyramid import SimpleFeaturePyramid

__all__ = [
    'AttentivePool',
    'AveragePool',
    'Classifier',
    'FrozenClassifier',
    'MultichannelPreprocessor',
    'SimpleFeaturePyramid',
]
