"""Benchmarks: what tcc does to whole collections of models, and how it compares with other tools."""
