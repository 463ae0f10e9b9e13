from ltxv_train_core.jobs.launcher_log import last_words

TABLE = """
[rank0]: RuntimeError: Connection closed by peer
[rank1]: MemoryError: no word of the one that fell
==================================================
worker.py FAILED
--------------------------------------------------
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 70)
--------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-01-01_00:00:00
  host      : one
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 71)
  error_file: <N/A>
=================================================="""


def test_of_several_processes_the_first_that_fell_is_named():
    assert last_words(TABLE.format(code=-9), 1).startswith(
        "process 2 was killed by the signal SIGKILL"
    )
    assert last_words(TABLE.format(code=3), 1) == (
        "process 2 ended with code 3 and gave no reason "
        "([rank1]: MemoryError: no word of the one that fell)"
    )


def test_of_one_process_its_own_end_is_told():
    assert "killed by the signal SIGTERM" in last_words("", -15)
    assert last_words("first\nlast\n\n", 2) == (
        "the training process ended with code 2 and gave no reason (last)"
    )
    assert last_words("", 1).endswith("(no output)")
    assert last_words("[rank1]: no memory\n=====", 1).endswith("([rank1]: no memory)")
    assert "signal 213" in last_words("", -213)
