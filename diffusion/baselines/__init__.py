"""Other ways to more varied samples, to compare with: FreeU, CADS, boosted noise."""
