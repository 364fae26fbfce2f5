"""What a message for people looks like."""

from __future__ import annotations

import pytest
from noisyfer.core.errors import UserError


def sentence(error: pytest.ExceptionInfo[UserError]) -> str:
    """The message of an error that a person reads: one line that ends with a full stop."""
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text
