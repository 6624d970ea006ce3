"""What everything else uses: errors, tables, keys, files, run-length encoding, pictures, progress bars."""
