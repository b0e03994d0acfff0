"""The script that `colmap_run` starts where `pycolmap` is installed: features, matches, cameras.

python -m studio.data.layouts.colmap_script FOLDER WORKSPACE SINGLE_CAMERA PAIRS PHOTO...
"""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST_SIDE = 1600  # px; features of larger photos cost more than they bring


def main(folder: str, workspace: str, single: str, pairs: str, *photos: str) -> None:
    """Write `database.db` and `sparse/0`, `sparse/1` ... to the workspace."""
    import pycolmap

    database, sparse = Path(workspace) / "database.db", Path(workspace) / "sparse"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size = LONGEST_SIDE
    mode = pycolmap.CameraMode.SINGLE if single == "1" else pycolmap.CameraMode.AUTO
    pycolmap.extract_features(
        database,
        folder,
        image_names=list(photos),
        camera_mode=mode,
        extraction_options=extraction,
    )
    match = pycolmap.match_exhaustive if pairs == "exhaustive" else pycolmap.match_sequential
    match(database)
    pycolmap.incremental_mapping(database, folder, sparse)


if __name__ == "__main__":
    main(*sys.argv[1:])
