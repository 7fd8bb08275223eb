"""fairseq as a training with R-Drop has it."""

import pytest

from rdrop_fairseq import compat


@pytest.fixture(autouse=True, scope="package")
def _mended():
    compat.prepare_fairseq()
    compat.mend_training()
