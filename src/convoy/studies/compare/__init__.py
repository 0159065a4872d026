"""Several recipes over several seeds: which is better, and by how much? An ablation varies keys of a recipe."""
