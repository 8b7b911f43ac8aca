# shellcheck shell=sh
# Prints what the dynamic loaders of programs find, without running the programs: NUL after each answer.
# Arguments: pairs of a loader and a program.
export LC_ALL=C
while [ $# -gt 1 ]; do
    # a program that is executed is at its own place, and not at that of a link: $ORIGIN in ld.so(8)
    program=$(readlink -f "$2")
    "$1" --list "${program:-$2}" 2>&1
    printf '\0'
    shift 2
done
