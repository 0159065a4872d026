"""One file per topic; a check is a function from the topic's subject to findings. Its row is in diagnosing.table."""
