"""Devices, precision and random seeds; clusters of workers; what a failed step means for the user."""
