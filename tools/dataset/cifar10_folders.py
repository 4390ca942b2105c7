#!/usr/bin/env python
"""`simmim cifar10` as a script: python tools/dataset/cifar10_folders.py OUT."""

import sys

from simmim_mm.cli import main

if __name__ == '__main__':
    main(['cifar10', *sys.argv[1:]])
