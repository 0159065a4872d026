"""Finds mistakes in networks, data, protocol, environment and reports, measures their effect, and says how to fix them.

A check is a function in `checks/` and a row in `table`. Its argument is its subject: a `Network`, `Images`, ...
"""
