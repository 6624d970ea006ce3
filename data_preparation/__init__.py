"""Commands that prepare datasets in one layout and check them; none of them imports TensorFlow.

Commands (`python data_preparation/<name>.py --help`): annotations, coco, drive, index_masks, lgg, make_phantom,
nuclei, pets, plan, preprocess_data, rle_csv, split, tfrecord, verify_data, volumes. The folders hold what they share:
`common` (command line, dataset writer, splits, reports), `annotation_forms` (readers of annotation tools' files),
`scans` (NIfTI, DICOM, slices) and `planning` (for plan.py).
"""
