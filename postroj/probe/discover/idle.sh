#!/bin/sh
# Prints what the dynamic loaders of programs find, without running the programs: NUL after each answer.
# Arguments: pairs of a loader and a program.
export LC_ALL=C
while [ $# -gt 1 ]; do
    "$1" --list "$2" 2>&1
    printf '\0'
    shift 2
done
