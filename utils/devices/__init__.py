"""Devices, precision and random seeds (`strategy`), clusters of workers, and what a failed step means for the user."""
