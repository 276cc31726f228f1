"""The one exception whose message is written for the person at the keyboard."""


class LockstepError(Exception):
    """Bad input or a bad state. The message is one line that names what is wrong and the mend."""


class Stopped(LockstepError):
    """Somebody asked the work to stop, and it did so in good order."""
