"""MINT-AD as a teaching and analysis kit: one model that detects defects in many product categories."""

__version__ = "0.2.0"
