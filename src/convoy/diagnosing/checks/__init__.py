"""The checks, one file per topic. A check maps the topic's subject to findings and has a row in diagnosing.table."""
