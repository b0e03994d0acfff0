"""EpiDiff: sixteen views at once, held together by attention along epipolar lines."""
