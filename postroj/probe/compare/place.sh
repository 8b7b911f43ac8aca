#!/bin/sh
# Writes a file as the owner of a folder would: place.sh NAME FOLDER...
name=$1; shift
for folder; do
    echo 'Written by postroj as a user of this folder might.' >"$folder/$name" || continue
    chown --reference="$folder" -- "$folder/$name"
done
