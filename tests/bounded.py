"""Runs a command that has to keep within bounds.   bounded.py SECONDS MEGABYTES COMMAND...

Seconds are of processor time, megabytes of resident memory; PAI_SLOW=N allows N times as much, for
sanitizers. Ends with the command's exit code, or 99.
"""
import os
import subprocess
import sys

slow = float(os.environ.get("PAI_SLOW", "1"))
process = subprocess.Popen(sys.argv[3:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
seconds, megabytes = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
if seconds > slow * float(sys.argv[1]) or megabytes > slow * float(sys.argv[2]):
    print("took %.2f s and %.0f MB" % (seconds, megabytes))
    sys.exit(99)
sys.exit(os.waitstatus_to_exitcode(status))
