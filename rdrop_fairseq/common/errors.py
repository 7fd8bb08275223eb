"""The one exception for mistakes that the person at the keyboard can correct."""


class UserError(ValueError, SystemExit):
    """A mistake in the input that its user can correct; the message names cause and remedy in one line.

    It is a ``ValueError`` for code that calls this package as a library. It is a ``SystemExit`` as well,
    so that one nobody catches ends a command line (ours or fairseq's) with exactly its message on
    standard error and exit status 1, where any other exception would bury the message under a traceback.
    """

    def __init__(self, message: str) -> None:
        message = " ".join(str(message).split())
        super().__init__(message)
        # What the interpreter prints for an uncaught SystemExit.
        self.code = message

    @property
    def cause(self) -> str:
        """The message without its remedy, which follows a semicolon."""
        return str(self.args[0]).partition(";")[0]

    @property
    def remedy(self) -> str:
        """What follows the cause; empty where the message names none."""
        return str(self.args[0]).partition(";")[2].strip()
