"""Parts of the pages of samples."""
