"""Published experiments and their reproduction, based on convoy.studies."""
