"""Figures of single chapters, drawn from numbers that are given, as in :mod:`dashbook.plots`."""
