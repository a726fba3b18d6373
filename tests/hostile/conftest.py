"""What a refusal has to look like."""

import re

import pytest

BUILT_IN = (
    TypeError,
    ValueError,
    OSError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)
MOST_CHARACTERS = 300


@pytest.fixture
def assert_refused(tmp_path):
    """Calls, and looks at the error: its type, its one line, and what is left behind."""

    def files():
        return {path: path.stat().st_size for path in tmp_path.rglob("*")}

    def check(call, kind, pattern):
        before = files()
        with pytest.raises(BUILT_IN) as caught:
            call()
        assert type(caught.value) is kind
        message = str(caught.value)
        assert "\n" not in message
        assert len(message.replace(str(tmp_path), "")) <= MOST_CHARACTERS
        assert re.search(pattern, message), message
        assert files() == before

    return check
