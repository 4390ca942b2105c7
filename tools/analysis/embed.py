#!/usr/bin/env python
"""`simmim embed` as a script: python tools/analysis/embed.py CHECKPOINT FOLDER."""

from simmim_mm.cli import run_verb

if __name__ == '__main__':
    run_verb('embed')
