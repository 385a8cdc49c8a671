from __future__ import annotations

import json

from edge_runtime.json_bytes import json_bytes


def test_a_name_that_is_no_utf_8_is_an_escape_that_gives_it_back() -> None:
    name = b'a\\Pr\xfc"1.png'.decode("utf-8", "surrogateescape")
    for indent in (None, 1):
        written = json_bytes({"frame": name, "message": "Größe"}, indent=indent)
        assert b"\\udcfc" in written
        assert "Größe".encode() in written
        assert json.loads(written.decode("utf-8")) == {"frame": name, "message": "Größe"}
    assert json_bytes({"frame": name}, not_utf8="replace") == b'{"frame":"a\\\\Pr?\\"1.png"}'
