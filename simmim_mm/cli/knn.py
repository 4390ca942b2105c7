"""Classify without training: ``simmim knn CHECKPOINT DATA``."""

import argparse

from simmim_mm.cli.common import add_checkpoint_options, checkpoint_options, progress_ticks

HELP = 'classify images by the nearest neighbors of their features'
DESCRIPTION = """
Classify images by the nearest neighbors of the features that a pretrained backbone gives as it is:
cosine similarity, votes weighted by exp(similarity / temperature).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('checkpoint', help='checkpoint (.pth) that a pretraining wrote')
    parser.add_argument(
        'data',
        help='folder with a folder of images for each class; or one with train and val of that '
        'kind. Without val each image is classified by all others',
    )
    parser.add_argument('--val', help='folder of the images to classify, if it is elsewhere')
    parser.add_argument(
        '--k', type=int, nargs='+', default=[20], help='numbers of neighbors to try (20)'
    )
    parser.add_argument('--temperature', type=float, default=0.07, help='(%(default)s)')
    parser.add_argument('--batch-size', type=int, default=64, help='(%(default)s)')
    parser.add_argument('--num-workers', type=int, default=2, help='(%(default)s)')
    add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> None:
    if min(args.k) < 1 or args.temperature <= 0:
        raise ValueError('--k must be at least 1 and --temperature above 0')
    from simmim_mm.evaluation.features import FeatureExtractor
    from simmim_mm.evaluation.knn import load_split, percent_right, weighted_knn

    bank, queries = load_split(args.data, args.val)
    loading = dict(batch_size=args.batch_size, num_workers=args.num_workers)
    extract = FeatureExtractor.from_checkpoint(
        args.checkpoint, *checkpoint_options(args), **loading
    )
    total = len(bank.paths) + (0 if queries is None else len(queries.paths))
    with progress_ticks('features') as tick:
        features = extract(bank.paths, lambda number: tick(total, number))
        others = queries and extract(queries.paths, lambda number: tick(total, number))
    labels = bank.labels if queries is None else queries.labels
    by = 'by all others' if queries is None else f'by {len(bank.paths)}'
    print(f'{len(labels)} images of {len(bank.classes)} classes, each {by}')
    for k in args.k:
        predicted = weighted_knn(features, bank.labels, others, k, args.temperature)
        print(f'k={k}: accuracy {percent_right(predicted, labels):.2f}%')
