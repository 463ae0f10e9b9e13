"""What a command returns to the shell."""

OK, FAILED, WRONG_CONFIGURATION, STOPPED = 0, 1, 2, 130
