"""Which files make a sample: pairing by name, TFRECORD shards, class folders, volumes."""
