# busy.sh PID...: print for each process how long its main thread has run and has waited for a
# processor, in nanoseconds, sched-stats.rst of the kernel.
# shellcheck shell=sh

for pid; do
    cat "/proc/$pid/schedstat" 2>/dev/null || echo 0 0
done
