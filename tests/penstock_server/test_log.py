"""What strangers send may be logged, and can neither look like a line of ours nor move a terminal's cursor."""

import io
import json

from penstock_server.log import json_log, printable, text_log

EVIL = "/a\r\nready  port=1\x1b[2J\u202e\udcff"


def test_a_line_for_a_terminal_stays_one_line() -> None:
    stream = io.StringIO()
    text_log(stream)("internal-error", path=EVIL, ok="grün")
    assert stream.getvalue() == "internal-error  path=/a\\r\\nready  port=1\\x1b[2J\\u202e\\udcff  ok=grün\n"


def test_what_the_server_itself_says_may_have_lines() -> None:
    stream = io.StringIO()
    text_log(stream)("Try it:\n  curl\x1b")
    assert stream.getvalue() == "Try it:\n  curl\\x1b\n"


def test_a_line_for_a_machine_stays_one_object() -> None:
    stream = io.StringIO()
    json_log(stream, clock=lambda: 0.0)("internal-error", path=EVIL.removesuffix("\udcff"))
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["path"] == EVIL.removesuffix("\udcff")


def test_names_are_shown_on_one_line() -> None:
    assert printable("a\nb") == "a\\nb"
