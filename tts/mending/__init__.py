"""Where a voice has not been, the repair of its encoder vectors there, and the judge that accepts or refuses it."""
