# What the launch scripts of all kinds of guests share, `launch.sh` and `machine.sh`.
# shellcheck shell=sh

# 512-byte blocks of the console log, and bytes of its end; a guest may print for ever, and the log
# lies in memory that all of this host needs, /run.
CONSOLE_BLOCKS=2048 CONSOLE_END=65536

# words COMMAND WORD... -- ...: run COMMAND with the words before the first `--`
words() {
    command=$1 count=0
    shift
    while [ "$1" != -- ]; do
        set -- "$@" "$1"
        shift
        count=$((count + 1))
    done
    shift $(($# - count))
    "$command" "$@"
}

# log_console: write each piece of the console as it comes, up to a limit, and its end when it ends
log_console() {
    (
        trap '' XFSZ
        ulimit -f $CONSOLE_BLOCKS
        exec cat >&3 2>/dev/null
    ) || :
    exec tail -c $CONSOLE_END >&3
}
