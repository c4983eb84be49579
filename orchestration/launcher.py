"""Starts runs as Dagster's own launcher does, and sees which of them live."""

import json

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG


class Launcher(DefaultRunLauncher):
    """A run is a process of the code server, which reports one that dies, unless it died with it.

    After `make down`, a power cut or a kill of both, Dagster's own launcher leaves such a run as started for ever,
    and the sensor would wait for it for ever. This one lets run monitoring ask whether the process is there.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """That it can be asked."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process is there; one of another machine is left to the code server there."""
        server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
        if server.get("host") not in ("localhost", "127.0.0.1"):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        events = self._instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT).records
        for entry in (record.event_log_entry for record in events):
            said = entry.dagster_event.engine_event_data.metadata if entry.dagster_event else {}
            if "pid" in said and not _lives(int(str(said["pid"].value)), entry.timestamp):
                return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _lives(pid: int, seen_at: float) -> bool:
    """Whether the process that had this pid then has it still; a younger one was only given its number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= seen_at
    except psutil.NoSuchProcess:
        return False
