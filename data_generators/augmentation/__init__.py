"""Random changes of training samples: one file per engine, ready-made policies."""
