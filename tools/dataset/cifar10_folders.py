#!/usr/bin/env python
"""`simmim cifar10` as a script: python tools/dataset/cifar10_folders.py OUT."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('cifar10')
