"""A stand-in for goss, which cannot be had from a mirror: it speaks the JSON of goss 0.4.

It understands `file:` with `exists:` of a file with tests, which may include another one and take
a variable. It needs only perl, as every Debian has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = r"""#!/usr/bin/perl
use strict; use File::Basename;
my (%given, @words);
for (@ARGV) { /^--(\w+)=(.*)/ ? ($given{$1} = $2) : push @words, $_ }
die "unknown command: @words\n" if "@words" ne "validate --format json";
sub lines { open my $file, '<', shift or die "cannot open\n"; my @lines = <$file>; @lines }
my %vars = $given{vars} ? map { /(\w+): (\S+)/ ? ($1, $2) : () } lines($given{vars}) : ();
my (@results, $failed);
sub tests {
    my ($place, $section, $path) = @_;
    for (lines($place)) {
        s/\{\{ *\.Vars\.(\w+) *\}\}/$vars{$1}/;
        if (/^(\w+):$/) { $section = $1 }
        elsif (/^  (\S+): *\{\}$/ and $section eq 'gossfile') { tests(dirname($place) . "/$1") }
        elsif (/^  (\S+):$/) { $path = $1 }
        elsif (/^    skip: true/) { $results[-1]{result} = 2 }
        elsif (/^    exists: (true|false)/) {
            my ($expected, $found) = ($1, -e $path ? 'true' : 'false');
            my $said = $expected eq $found ? "matches expectation: $expected"
                : "Expected\\n    $found\\nto equal\\n    $expected";
            push @results, { path => $path, result => $expected ne $found, said => $said };
        }
        elsif (/\S/) { print STDERR "Error: could not unmarshal: $_"; exit 1 }
    }
}
tests($given{gossfile});
$failed = grep { $_->{result} == 1 } @results;
print '{"results":[', join(',', map { sprintf(
    '{"successful":%s,"skipped":%s,"resource-id":"%s","resource-type":"File","property":"exists",'
    . '"title":"","meta":null,"result":%d,"err":null,"duration":21000,'
    . '"summary-line":"File: %s: exists:\\n%s"}',
    $_->{result} == 1 ? 'false' : 'true', $_->{result} == 2 ? 'true' : 'false',
    $_->{path}, $_->{result}, $_->{path}, $_->{said}) } @results),
    sprintf('],"summary":{"test-count":%d,"failed-count":%d}}', scalar @results, $failed), "\n";
exit($failed ? 1 : 0);
"""


def program(folder: Path) -> Path:
    """Write the stand-in."""
    path = folder / "goss"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path
