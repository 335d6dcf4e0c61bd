"""Several sets against one reference: paired differences, ranks that know ties, and each class apart."""
