"""From files to arrays: headers, decoding, masks, whole samples, the cache."""
