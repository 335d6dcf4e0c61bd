"""Which samples are broken, and which units are active in them."""
