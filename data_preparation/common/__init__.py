"""What the preparation commands share: command line, dataset writer, parallel work, splits, groups."""
