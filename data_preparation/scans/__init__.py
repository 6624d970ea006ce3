"""Scans to slices: NIfTI and DICOM, orientation, intensity windows."""
