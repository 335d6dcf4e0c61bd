"""The HTML pages that the commands write: each shows a result and computes nothing."""
