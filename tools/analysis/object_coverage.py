#!/usr/bin/env python
"""`simmim coverage` as a script: python tools/analysis/object_coverage.py COCO_JSON."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('coverage')
