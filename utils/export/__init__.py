"""Write a trained model in other formats: the table of formats, exporters, comparison with the model, model card."""
