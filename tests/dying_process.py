"""`make train` in which process 1 is killed once, in the middle of an epoch: what test_processes starts by torchrun."""

import os
import signal

from recognizer.network import processes, train_command

STEP = 17  # counted from the start of the run
steps_left = [STEP]
stop_if_asked = processes.stop_if_asked


def die_or_go_on() -> None:
    steps_left[0] -= 1
    if not steps_left[0] and processes.rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    stop_if_asked()


if __name__ == "__main__":
    processes.stop_if_asked = die_or_go_on
    train_command.main()
