"""An executor that is not local: each job, or group of jobs, is a Snakemake of its own.

So a cluster without a cluster: Snakemake heeds `--groups` only where jobs run elsewhere. Needs
this folder's parent in PYTHONPATH; then `snakemake --executor elsewhere --jobs 1`.
"""

import subprocess
from collections.abc import AsyncIterator

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_resources_args=True,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    """Starts processes on this machine and asks now and then whether they have ended."""

    def __post_init__(self):
        self.processes: dict[str, subprocess.Popen] = {}

    def run_job(self, job: JobExecutorInterface) -> None:
        process = subprocess.Popen(["bash", "-c", f"exec {self.format_job_exec(job)}"])
        number = str(process.pid)
        self.processes[number] = process
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=number))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncIterator[SubmittedJobInfo]:
        for info in active_jobs:
            async with self.status_rate_limiter:
                status = self.processes[info.external_jobid].poll()
            if status is None:
                yield info
            elif status:
                self.report_job_error(info, msg=f"exit status {status}")
            else:
                self.report_job_success(info)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        for info in active_jobs:
            self.processes[info.external_jobid].terminate()
