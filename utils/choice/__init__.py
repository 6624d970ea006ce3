"""Choose networks, their ensemble and postprocessing on kept validation predictions, cross-validated over cases."""
