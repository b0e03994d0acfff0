"""Image files opened: one list of formats for the whole program, one clear message a fault.

Needs Pillow only, so that a wrong path is told before torch is loaded. Pillow on its own would also
hand PostScript to Ghostscript, a program that runs what the file says; here it is never started.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib.util
import io
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from studio.errors import DataError, StudioError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")
"""Pillow's names of the formats that are opened; HEIF comes on top where pillow-heif is there."""
READABLE = "png, jpg, webp, tif, bmp, gif, avif, ppm, or heic with pillow-heif"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif")
"""Of the pictures of a capture."""
MAX_SIDE = 16_384  # px
MAX_PIXELS = 2**26  # 67 megapixels: 1 GB as float RGBA
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LONGEST_NAME = 200  # characters of a path in a message

EpsImagePlugin.gs_binary = False  # also for libraries that open pictures themselves (trimesh)


@contextlib.contextmanager
def opened(
    path: str | Path, content: bytes | None = None, *, most_pixels: float = MAX_PIXELS
) -> Iterator[Image.Image]:
    """Open a picture; what Pillow says about it, in the block too, becomes a `DataError`.

    Args:
        path: the file.
        content: its bytes where it lies in an archive; then `path` only names it.
        most_pixels: that it may have; more than `MAX_PIXELS` is not possible.

    Raises:
        DataError: if the file is missing, no picture of `FORMATS`, broken, or larger than 16,384 px
            on a side or `most_pixels`.
    """
    path = Path(path)
    if content is None:
        check_file(path)
    try:
        head = _head(path) if content is None else content[:12]
        with _open(path if content is None else io.BytesIO(content), head, path) as picture:
            check_size(path, picture.size, most_pixels)
            yield picture
    except StudioError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "has more pixels than can be decoded safely", most_pixels) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not a picture.", allowed=READABLE) from error
    except PermissionError as error:
        raise DataError(f"picture {path} may not be read: permission denied.") from error
    except Exception as error:  # of a damaged file Pillow's decoders raise nearly every type
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise DataError(
            f"picture {path} is broken or cut off ({reason}).",
            hint="Copy or download it again; if a viewer opens it, save it anew as PNG.",
        ) from error


def is_picture_file(path: Path) -> bool:
    """Whether a file is a picture that `opened` opens, by its name or its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with opened(path):
            return True
    except StudioError:
        return False


def picture_size(path: str | Path, *, upright: bool = True) -> tuple[int, int]:
    """Return (height, width) of a picture file from its header.

    Args:
        path: the file.
        upright: as it is after turning by its EXIF tag.

    Raises:
        DataError: as `opened`.
    """
    with opened(path) as picture:
        width, height = picture.size
        turned = upright and picture.getexif().get(0x0112, 1) >= 5  # tag "orientation"
    return (width, height) if turned else (height, width)


def check_file(path: Path) -> None:
    """Check that a file is there and has content.

    Raises:
        DataError: saying what is wrong, with the near miss of a name.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _not_there(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path} is a folder, not a picture.", allowed=f"one {READABLE} file")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path} is a device or pipe, not a picture file.", allowed=READABLE)
    if status.st_size == 0:
        raise DataError(f"picture {path} is an empty file.", hint="Copy or download it again.")


def _not_there(path: Path, error: OSError | ValueError) -> DataError:
    name = str(path)
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}... ({len(name):,} characters)"
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENAMETOOLONG:
        return DataError(
            f"picture {name}: the path is too long for the file system.",
            allowed="names of up to 255 characters",
        )
    if number == errno.EACCES:
        return DataError(f"picture {name} may not be read: permission denied.")
    if number not in (errno.ENOENT, errno.ENOTDIR):
        return DataError(f"picture {name} cannot be opened ({error}).")
    near: list[str] = []
    with contextlib.suppress(OSError):
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    folder = "" if path.parent.is_dir() else f" (there is no folder {path.parent})"
    return DataError(
        f"picture {name} does not exist{folder}.",
        hint=f"did you mean {path.parent / near[0]}?" if near else None,
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _open(file: Path | io.BytesIO, head: bytes, path: Path) -> Image.Image:
    formats = [name for name in FORMATS if name in _known()]
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        formats = [_heif(path)]
    with warnings.catch_warnings():  # our own limit is lower than the one that Pillow warns at
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(file, formats=formats)


@contextlib.contextmanager
def allowed_formats() -> Iterator[None]:
    """Let libraries that open pictures themselves know the formats of `FORMATS` only."""
    known = _known()
    ids = Image.ID[:]
    Image.ID[:] = [name for name in FORMATS if name in known]
    try:
        yield
    finally:
        Image.ID[:] = ids


def _known() -> set[str]:
    Image.init()
    return set(Image.OPEN)


def _heif(path: Path) -> str:
    """Make Pillow read HEIC, which iPhones take pictures in; returns its name of the format."""
    if importlib.util.find_spec("pillow_heif") is None:
        raise DataError(
            f"{path} is a HEIC picture, and pillow-heif is not installed.",
            allowed=READABLE,
            hint="Save the picture as JPEG or PNG. Or install it: pip install pillow-heif.",
        )
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return "HEIF"


def check_size(path: Path | str, size: tuple[int, int], most_pixels: float = MAX_PIXELS) -> None:
    """Refuse pictures that are too large to be worked on; see `opened`."""
    width, height = size
    if max(size) > MAX_SIDE or width * height > min(most_pixels, MAX_PIXELS):
        raise _too_large(path, f"is {width:,}x{height:,} px, too large", most_pixels)


def _too_large(path: Path | str, what: str, most_pixels: float) -> DataError:
    most = f"{min(most_pixels, MAX_PIXELS) / 1e6:.3g}"
    return DataError(
        f"picture {path} {what}.",
        allowed=f"at most {MAX_SIDE:,} px on a side and {most} megapixels",
        hint="Scale it down first.",
    )


def carries_alpha(picture: Image.Image) -> bool:
    """Whether a picture itself says what of it is transparent."""
    return picture.getbands()[-1] in ("A", "a") or "transparency" in picture.info


def frames(path: str | Path) -> int:
    """Count the frames or pages of a picture file; further pictures in a photo's file do not count.

    Raises:
        DataError: if the file is missing, no picture or broken.
    """
    with opened(path) as picture:
        return 1 if picture.format == "MPO" else int(getattr(picture, "n_frames", 1))
