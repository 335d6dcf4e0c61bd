"""Bytes on disk: whole files, one container of arrays and JSON, digests, resumable work, weights of packages."""
