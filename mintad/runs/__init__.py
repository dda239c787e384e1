"""Runs: train, evaluate, predict, and the directory that a training leaves behind."""
