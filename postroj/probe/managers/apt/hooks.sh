# shellcheck shell=sh
# Runs the hooks of apt in configuration files, and prints those that fail as `FILE: HOOK: COMMAND`.
# Only apt's run decides about most of them, but nothing is installed or removed here.
#     hooks.sh FILE...
set -u
for file; do
    [ -f "$file" ] || continue
    apt-config --option=Dir::Etc::Main=/dev/null --option=Dir::Etc::Parts=/dev/null \
        --config-file="$file" dump 2>/dev/null |
        sed -n 's/^\(\(DPkg\|APT::Update\)::\(Pre\|Post\)-Invoke\(-Success\)\?\)::[^ ]* "\(.*\)";$/\1 \5/p' |
        sort -u |
        while read -r hook command; do
            sh -c "$command" >/dev/null 2>&1 </dev/null || echo "$file: $hook: $command"
        done
done
