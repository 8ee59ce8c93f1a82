"""The tests that depend on the version of Python pass on a second one, too."""

import pytest

from tests import second_python
from tests.support.tools import need, need_root


@pytest.mark.long
@pytest.mark.machine
@pytest.mark.timeout(3600)
def test_second_python_passes() -> None:
    """On Debian's Python, as a user without rights, make sets itself up and the tests of the product's code pass."""
    need_root()
    need("mmdebstrap", "mmdebstrap")
    assert 0 == second_python.run("python")
