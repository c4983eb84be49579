"""A person vouches for versions that carry no signature of this home: of an earlier release, or of another home."""

from ml import lake
from ml.exposures import Exposure
from ml.lake import locks
from ml.progress import Say
from ml.records import migrations, versions


def sign(exposure: Exposure, *, by: str, say: Say = print) -> list[str]:
    """Sign the exposure's versions that this home's key did not sign, in one commit; their ids, oldest first.

    Args:
        by: Who vouches, which the commit keeps.

    Raises:
        ArtifactError: A file of one is missing or was changed; nothing was written.
        LakeUnavailableError: The lake is not up.
    """
    with locks.lock(locks.consuming(exposure.name), say=say) as confirm, lake.connect() as con:
        migrations.migrate(con, [exposure], say)
        with lake.transaction(con, by, f"{exposure.name} sign", confirm):
            known = versions.version_ids(con, exposure.name)
            return [version_id for version_id in known if versions.sign(con, exposure.name, version_id)]
