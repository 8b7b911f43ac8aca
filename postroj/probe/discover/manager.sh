# shellcheck shell=sh
# Defines how to ask the manager of a guest, which refuses connections while it restarts itself.
manager() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        answer=$(systemctl "$@") && break
        [ $? -eq 1 ] || break
        sleep 0.5
    done
    printf '%s\n' "$answer"
}
