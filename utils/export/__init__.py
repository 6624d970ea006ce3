"""Write a trained model in another format, check it, and describe it in a model card."""
