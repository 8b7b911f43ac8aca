# shellcheck shell=sh
# Writes stdin to the file "$1", and gives it the mode "$2" if it is new.
set -eu
mkdir -p -- "${1%/*}/"
if [ -e "$1" ]; then
    cat > "$1"
else
    cat > "$1"
    chmod -- "$2" "$1"
fi
