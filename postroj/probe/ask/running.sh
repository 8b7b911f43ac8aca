# running.sh PID...: print for each process its PID and its effective UID, proc_pid_status(5).
# shellcheck shell=sh

for pid; do
    { while read -r key _ uid _; do
        [ "$key" != Uid: ] || echo "$pid $uid"
    done < "/proc/$pid/status"; } 2>/dev/null || :
done
