# shellcheck shell=sh
# Print three parts with a NUL between them: the scripts that configure the packages "$@", since those
# of a removal may disable units whatever a setting says; their questions and answers in debconf; the
# files below /etc/default that the scripts name, each line with its path.
scripts=$(
    for name; do
        for script in config preinst postinst; do
            dpkg-query --control-show "$name" "$script" 2>/dev/null
        done
    done
)
printf '%s\0' "$scripts"
for name; do
    debconf-show "$name" 2>/dev/null
done
printf '\0'
printf '%s\n' "$scripts" | grep -o '/etc/default/[[:alnum:]._+-]*' | sort -u |
    while read -r path; do
        [ -f "$path" ] && grep -H '' "$path"
    done
exit 0
