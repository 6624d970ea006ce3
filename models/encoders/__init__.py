"""Encoders: image -> feature maps by stride."""
