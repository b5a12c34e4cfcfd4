"""Measurements of speed and cost; see the README beside this file."""
