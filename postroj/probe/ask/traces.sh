# shellcheck shell=sh
# Print the PID files below /run that were written between two moments, whose process is gone, and
# whose name is in a script.
# $1, $2: the moments, in seconds since the epoch; $3: the script
find /run -xdev -type f -name '*.pid' -newermt "@$1" ! -newermt "@$2" |
while read -r file; do
    pid=$(head -n 1 "$file")
    name=${file##*/}
    grep -qF -- "${name%.pid}" "$3" || continue
    case $pid in
    '' | *[!0-9]*) ;;
    *) kill -0 "$pid" || echo "$file" ;;
    esac
done 2>/dev/null
