"""The ground everything stands on: errors, look-up in tables, files, run-length texts, pictures, progress bars."""
