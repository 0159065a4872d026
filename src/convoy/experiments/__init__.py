"""Published experiments and their reproduction: a user of the studies of convoy.studies."""
