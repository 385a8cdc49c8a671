"""Options of the HTTP service: declared once, here; `serve` makes its flags from them."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import check_options, option


@dataclass(frozen=True)
class ServeOptions:
    """What decides where the service listens, and what it accepts."""

    host: str = option(
        "127.0.0.1", "Address to listen on. Any that other machines can reach needs a token; 0.0.0.0 is all of them."
    )
    port: int = option(8080, "Port to listen on; 0 takes a free one.", minimum=0, maximum=65_535)
    token_file: str | None = option(
        None,
        "File with the token that requests must bear, 16 characters or more, in its first line; not readable by "
        "everybody.  [default: the environment variable TFGANOMALY_TOKEN]",
        value_type=str,
    )
    max_upload_mb: float = option(20.0, "Largest upload that is accepted.", minimum=0.001, maximum=500)
    max_upload_megapixels: float = option(
        20.0,
        "Largest picture that is accepted: a small file can hold a large one. A megapixel needs up to 12 MB of memory "
        "while it is read, and as WebP 22 MB.",
        minimum=1,
        maximum=80,
    )

    def __post_init__(self) -> None:
        check_options(self)
