#!/usr/bin/env python
"""`simmim make-shapes` as a script: python tools/dataset/make_shapes.py OUT."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('make-shapes')
