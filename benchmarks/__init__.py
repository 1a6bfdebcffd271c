"""Benchmarks: what tcc does to whole collections of models, and how it compares with other tools."""

import os

# What compiling takes and gives is measured, not what an earlier run of a benchmark kept.
os.environ["TCC_REUSE"] = "0"
