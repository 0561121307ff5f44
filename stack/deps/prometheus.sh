#!/bin/sh
# Puts Prometheus, for tests, into a folder:
#
#   stack/deps/prometheus.sh DIR
#
# DIR/prometheus and DIR/promtool are those of this machine or, where it has none,
# those of Debian's package, which is unpacked and not installed: nothing is started.
# Where there is neither, DIR stays empty, and tests that want it say so.
set -eu

dir=$1
rm -rf "$dir"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
	ln -s "$(command -v prometheus)" "$(command -v promtool)" "$dir"
	exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
	echo "prometheus.sh: Prometheus is not installed, and this is no Debian: the tests that need it are skipped" >&2
	exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt has a user of its own
cd "$work"
# What is known of packages may be old, or not there.
apt-get -qq download prometheus 2>/dev/null || { apt-get -qq update && apt-get -qq download prometheus; } >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	echo "prometheus.sh: Debian's package cannot be downloaded: the tests that need it are skipped" >&2
	exit 0
}
dpkg-deb -x prometheus_*.deb "$work/package"
mv "$work/package/usr/bin/prometheus" "$work/package/usr/bin/promtool" "$dir"
