#!/usr/bin/env python
"""`simmim knn` as a script: python tools/analysis/knn.py CHECKPOINT DATA."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('knn')
