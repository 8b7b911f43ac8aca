# shellcheck shell=sh
# Lists the core dumps in a guest: cores.sh UNIT...
# A core dump is named after a pattern; it lies where the process was, if that names no folder.
read -r pattern </proc/sys/kernel/core_pattern
echo "kernel.core_pattern: $pattern"
name=""
folder=/
case $pattern in
"|"*) echo "the kernel hands core dumps to a program of the host" ;;
*) name=$(echo "${pattern##*/}" | sed 's/%./*/g') ;;
esac
case $pattern in
/*) folder=${pattern%%%*}; folder=${folder%/*}/ ;;
esac
if command -v coredumpctl >/dev/null; then coredumpctl list --no-pager; fi
{
    if [ -n "$name" ]; then
        {
            echo "$folder"
            [ $# -eq 0 ] || systemctl show --property=WorkingDirectory -- "$@" |
                sed -n 's/^WorkingDirectory=[!-]*//p'
        } | grep . | while IFS= read -r place; do
            find "$place" -maxdepth 1 -type f \( -name "$name" -o -name "$name.[0-9]*" \)
        done
    fi
    find /var/lib/systemd/coredump /var/crash -maxdepth 1 -type f
} 2>/dev/null | sort -u | head -n 200 | while IFS= read -r file; do ls -l -- "$file"; done
