"""Frozen backbones and their features, computed once and cached (§3.2, Table 11).

`backbone` builds the extractor, `weights` finds its weights, `extract` fills the `cache`
and returns a `table`.
"""
