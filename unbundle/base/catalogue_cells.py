"""What a catalogue's ids and image paths may be, wherever they come from."""

ID_LENGTH = 64
ID_PATTERN = rf"[A-Za-z0-9_.:-]{{1,{ID_LENGTH}}}"
"""What an id may be, from start to end: it is a primary key in Milvus and a file's name."""


def leads_out(image: str) -> bool:
    """Whether an image's path leads out of the catalogue's folder by its text: it is absolute, or
    holds `..`. Where links lead is another matter."""
    return image.startswith("/") or ".." in image.split("/")
