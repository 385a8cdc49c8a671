"""Synthetic defects: paints scratches, stains, missing pieces and the like into images of good parts."""
