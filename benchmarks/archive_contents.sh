# Write the lines of the archive's Contents indices that name a unit or SysV script to /srv.
# apt verifies the indices, and chooses the mirror, the suites and the architectures.
set -eu
cat > /etc/apt/apt.conf.d/99contents <<'CONF'
Acquire::IndexTargets::deb::Contents-deb {
  MetaKey "$(COMPONENT)/Contents-$(ARCHITECTURE)";
  ShortDescription "Contents-$(ARCHITECTURE)";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents";
  KeepCompressed "true";
  KeepCompressedAs "gz";
};
CONF
apt-get --quiet --error-on=any update >&2
# shellcheck disable=SC2016  # apt expands it
apt-get indextargets --format '$(FILENAME)' 'Created-By: Contents-deb' > /tmp/indices
test -s /tmp/indices
while read -r index; do
	zcat "$index"
done < /tmp/indices | grep -E '^((usr/)?lib/systemd/system|etc/init\.d)/' > /srv/contents.part
mv /srv/contents.part /srv/contents
