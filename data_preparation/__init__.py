"""Scripts that bring data into the canonical layout and check it; none of them imports TensorFlow.

Commands (`python data_preparation/<name>.py --help`): coco, index_masks, lgg, make_phantom, pets, plan,
preprocess_data, rle_csv, split, tfrecord, verify_data, volumes. The other files are what these share.
"""
