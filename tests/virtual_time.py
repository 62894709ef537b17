"""An event loop whose clock jumps: hours of waiting in milliseconds, whatever else runs."""

import asyncio


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while there is work and jumps to the next timer when there is none."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            # A real clock never stands quite still: rounding must not make a timer due for ever.
            self._now = max(self._now + 1e-6, self._scheduled[0].when())
        super()._run_once()
