"""CT and MR scans: read NIfTI and DICOM, pair scans with segmentations, write 8-bit slices.

`nifti` and `dicom` open a scan in the radiological view, `labelled_scans` finds and reads a scan with its segmentation,
`slices` turns one slice into pixels, `volume_writer` and `manifest` write the slices of whole volumes.
"""
