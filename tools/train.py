#!/usr/bin/env python
"""`simmim train` as a script: python tools/train.py CONFIG."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('train')
