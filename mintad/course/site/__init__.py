"""The series as a site of static pages: notebooks are executed, panels precomputed, links kept inside.

`build` makes the site; `execute` runs a notebook, which knows it by `mode`; `panels` holds figures and panels as data;
`page` writes cells as HTML; `links` gives every file that a page links to an address; `formulas` draws LaTeX.
"""
