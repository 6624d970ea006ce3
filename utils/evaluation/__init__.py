"""Score a trained model: evaluator, case scores, tables, HTML report, gallery, console."""
