"""The lake of ml's tests, for what orchestration does with one."""

from tests.ml.conftest import con as con
from tests.ml.conftest import exposure as exposure
from tests.ml.conftest import laid_out as laid_out
from tests.ml.conftest import publish as publish
