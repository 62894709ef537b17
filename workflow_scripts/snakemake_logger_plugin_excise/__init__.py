"""`snakemake --logger excise`: one line for the whole run instead of many for every job.

Warnings and errors are printed above the line. The log file in `.snakemake/log` holds all.
Snakemake finds this package by its name and imports it at every start.
"""

import logging
import re
from typing import TYPE_CHECKING, Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

if TYPE_CHECKING:
    from excise.workflow.time_left import Plan

SHOWN = re.compile("Nothing to be done|Complete log|Trying to restart|Shutting down|Will exit")
"""Messages without an event that are printed besides warnings; the others are for the log file."""

STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class LogHandler(LogHandlerBase):
    """Turns Snakemake's records into one line. A dry run, or `--verbose`, is printed as usual."""

    def __post_init__(self) -> None:
        # Not at every start of Snakemake.
        from rich.console import Console

        from excise.workflow.run_line import RunLine

        console = Console(stderr=not self.common_settings.stdout, soft_wrap=True)
        self.line = RunLine(console)

    @property
    def writes_to_stream(self) -> bool:
        """It replaces Snakemake's own output."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """It does not."""
        return False

    @property
    def has_filter(self) -> bool:
        """Snakemake's own filter is used."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Snakemake's own formatter is used."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """It does not."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        try:
            self.take(record)
        except Exception:
            self.handleError(record)

    def take(self, record: logging.LogRecord) -> None:
        """Update the line, and print the record if it is for the user."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            self.line.start(record.jobid, record.rule_msg or record.rule_name)
        elif event == LogEvent.JOB_FINISHED:
            self.line.finish(record.job_id)
        elif event == LogEvent.JOB_ERROR:
            self.line.fail(record.jobid)
        elif (dropped := getattr(record, "dropped_job", None)) is not None:
            self.line.drop(dropped)
        if self.is_shown(record):
            text = self.format(record)
            if text and text != "None":
                self.line.say(text, STYLES.get(record.levelno, ""))

    def is_shown(self, record: logging.LogRecord) -> bool:
        """Whether a record is printed."""
        if record.levelno >= logging.WARNING:
            return True
        if self.common_settings.dryrun or self.common_settings.verbose:
            return True
        has_event = getattr(record, "event", None) is not None
        return not has_event and SHOWN.match(record.getMessage()) is not None

    def begin(self, plan: "Plan") -> None:
        """The first job is about to start."""
        self.line.begin(plan)

    def close(self) -> None:
        """Print the last state."""
        self.line.close()
        super().close()


def handler_of(workflow: Any) -> LogHandler | None:
    """The handler of a running Snakemake; None without `--logger excise`."""
    handlers = workflow.logger_manager.get_log_handlers()
    return next((one for one in handlers if isinstance(one, LogHandler)), None)
