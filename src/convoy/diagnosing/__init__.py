"""Finds mistakes in networks, data, protocol, environment and reports, measures them, and says how to mend them.

A check is a function in `checks/` and a row in `table`. Its subject has what it reads: a `network`, `images`, ...
"""
