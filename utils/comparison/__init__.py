"""Compare evaluated runs on the same cases: differences with intervals and tests, ranks, volumes, cost, pictures."""
