# shellcheck shell=sh
# Writes a file as the owner of a folder would: place.sh NAME FOLDER...
# A folder that a unit watches is left alone, as the file would start or stop that unit.
name=$1; shift
end='
'
watched=$(grep -rhsE '^(Condition|Assert)?(PathExistsGlob|PathChanged|PathModified|DirectoryNotEmpty)=' \
    /etc/systemd/system /run/systemd/generator /usr/lib/systemd/system /lib/systemd/system)$end
for folder; do
    case $watched in *"$folder$end"* | *"$folder/$end"* | *"$folder/"[*?[]*) continue ;; esac
    echo 'Written by postroj as a user of this folder might.' >"$folder/$name" || continue
    chown --reference="$folder" -- "$folder/$name"
done
