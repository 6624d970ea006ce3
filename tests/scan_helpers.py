"""Small scans as NIfTI, DICOM series and DICOM SEG, for tests of several folders."""

import json

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage, generate_uid

SHAPE = (12, 10, 4)  # to the right, to the front, to the head

AFFINE = np.diag([2.0, 3.0, 5.0, 1.0])

RNG = np.random.default_rng(2)


def scan():
    return RNG.integers(-300, 400, SHAPE).astype(np.int16)


def labels():
    return RNG.integers(0, 4, SHAPE).astype(np.uint8)


def nifti(path, voxels):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, AFFINE), path)


def make_decathlon(folder, modality="CT", count=4, four_axes=False):
    cases = {}
    for index in range(count):
        name = f"liver_{index}.nii.gz"
        cases[f"liver_{index}"] = scan(), labels()
        voxels = cases[f"liver_{index}"][0]
        nifti(folder / "imagesTr" / name, np.stack([voxels * 0, voxels], -1) if four_axes else voxels)
        nifti(folder / "labelsTr" / name, cases[f"liver_{index}"][1])
        (folder / "imagesTr" / f"._{name}").write_bytes(b"\0\5\26\7")
    nifti(folder / "imagesTs/liver_9.nii.gz", scan())
    training = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in cases]
    modalities = {"0": "T2", "1": modality} if four_axes else {"0": modality}
    (folder / "dataset.json").write_text(json.dumps({"modality": modalities, "training": training}))
    return cases


def header(sop_class, series):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID = series
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    return data


def position(index):
    """Of the first pixel of a slice, in DICOM's millimetres (left, back, head) of the volume that AFFINE describes."""
    right, front, head, _ = AFFINE @ [SHAPE[0] - 1, SHAPE[1] - 1, index, 1]
    return [-right, -front, head]


def write_series(folder, voxels, slope=1.0, intercept=-1024.0, change=None, skip=()):
    """Axial slices; rows run to the back, columns to the left. File names are in another order than the slices."""
    folder.mkdir(parents=True)
    series = generate_uid()
    for index in range(voxels.shape[2]):
        if index in skip:
            continue
        data = header(CTImageStorage, series)
        data.Modality = "CT"
        data.Rows, data.Columns = SHAPE[1], SHAPE[0]
        data.PixelSpacing = [3, 2]  # between rows, between columns
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = position(index)
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        stored = np.rint((voxels[::-1, ::-1, index].T - intercept) / slope).astype("<u2")
        data.PixelData = stored.tobytes()
        if change:
            change(index, data)
        data.save_as(folder / f"{(index * 7) % 5:03d}.dcm", enforce_file_format=True)
    (folder / "DICOMDIR.txt").write_text("no DICOM")
    (folder / "._000.dcm").write_bytes(b"\0\5\26\7")


def write_seg(path, classes):
    """A binary segmentation with one frame for each segment and slice that has it, as writers leave empty ones out."""
    data = header(SegmentationStorage, generate_uid())
    data.Modality, data.SegmentationType = "SEG", "BINARY"
    data.Rows, data.Columns = SHAPE[1], SHAPE[0]
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = data.PixelRepresentation = 0
    shared, orientation = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    groups, frames = [], []
    for number in range(1, int(classes.max()) + 1):
        for index in range(SHAPE[2]):
            frame = number == classes[::-1, ::-1, index].T
            if frame.any():
                group, place, segment = Dataset(), Dataset(), Dataset()
                place.ImagePositionPatient, segment.ReferencedSegmentNumber = position(index), number
                group.PlanePositionSequence, group.SegmentIdentificationSequence = [place], [segment]
                groups.append(group)
                frames.append(frame)
    data.PerFrameFunctionalGroupsSequence, data.NumberOfFrames = groups, len(frames)
    packed = np.packbits(np.stack(frames).ravel(), bitorder="little").tobytes()
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    data.save_as(path, enforce_file_format=True)
