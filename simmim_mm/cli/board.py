"""A local page on trainings: ``simmim board WORK_DIRS``."""

import argparse

from simmim_mm.cli.common import find_images, say

HELP = 'a local page: runs, their pictures side by side, and holes to paint and fill'
DESCRIPTION = """
Serve a page to this machine alone: the trainings below some folders in a table to sort, their
curves and reconstructions side by side, and an image to paint a hole on, which a model fills.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dirs', nargs='+', help='folders, searched for trainings')
    parser.add_argument('--port', type=int, default=7860, help='of 127.0.0.1 (%(default)s)')
    parser.add_argument('--images', metavar='FOLDER', help='images to choose from on the page')
    parser.add_argument('--num', type=int, default=24, help='how many of them (%(default)s)')
    parser.add_argument('--device', help='cpu or cuda (default: cuda if there is one)')


def run(args: argparse.Namespace) -> None:
    images = find_images(args.images, args.num) if args.images else []

    import torch

    from simmim_mm.board.page import show_board

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    show_board(args.work_dirs, images, args.port, device, say)
