# shellcheck shell=sh
# Write the lines of the archive's Contents indices that name a unit or SysV script to /srv.
# They only choose names, so their signature does not matter, and mirrors often have older ones than
# their signed list says. apt verifies the packages.
set -eu
apt-get --quiet --error-on=any update >&2
# shellcheck disable=SC2016  # apt expands it
apt-get indextargets --format '$(URI)' 'Created-By: Packages' > /tmp/indices
for arch in "$(dpkg --print-architecture)" all; do
	while read -r index; do
		url=${index%/binary-*}/Contents-$arch.gz
		echo "$url" >&2
		if /usr/lib/apt/apt-helper download-file "$url" /tmp/contents.gz > /tmp/log 2>&1; then
			zcat /tmp/contents.gz >> /tmp/contents
		else
			# not every suite has them
			grep -q '404 ' /tmp/log || { cat /tmp/log >&2; exit 1; }
		fi
		rm -f /tmp/contents.gz
	done < /tmp/indices
done
grep -E '^((usr/)?lib/systemd/system|etc/init\.d)/' /tmp/contents > /srv/contents.part
mv /srv/contents.part /srv/contents
