# shellcheck shell=sh
# Print the PID files below /run that were written between two moments and whose process is gone.
# $1, $2: the moments, in seconds since the epoch
find /run -xdev -type f -name '*.pid' -newermt "@$1" ! -newermt "@$2" |
while read -r file; do
    pid=$(head -n 1 "$file")
    case $pid in
    '' | *[!0-9]*) ;;
    *) kill -0 "$pid" || echo "$file" ;;
    esac
done 2>/dev/null
