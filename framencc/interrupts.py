"""The signals that ask a program to end, as far as the platform has them."""

import signal

SIGNALS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
