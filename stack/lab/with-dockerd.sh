#!/bin/sh
# Runs a command with a Docker daemon of its own:
#
#   stack/lab/with-dockerd.sh DIR COMMAND [ARGUMENT...]
#
# DIR gets the daemon's images, containers and its log, dockerd.log; images of an
# earlier run are found again. The command finds the daemon by DOCKER_HOST. Both
# are in a network namespace that has loopback and the containers' networks and
# nothing else, and in a mount namespace: whatever they set up there is gone when
# they have ended, and no other daemon of the machine is disturbed.
set -eu

fail() {
	echo "with-dockerd.sh: $*" >&2
	exit 1
}

if [ "${WITH_DOCKERD:-}" != inside ]; then
	[ $# -ge 2 ] || fail "usage: with-dockerd.sh DIR COMMAND [ARGUMENT...]"
	[ "$(id -u)" = 0 ] || fail "a Docker daemon needs root"
	for tool in dockerd docker unshare ip; do
		command -v $tool >/dev/null || fail "$tool is needed (Debian: apt-get install docker.io iproute2)"
	done
	WITH_DOCKERD=inside exec unshare --net --mount --propagation private "$0" "$@"
fi
unset WITH_DOCKERD

mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
ip link set lo up
mkdir -p /var/run/docker
mount -t tmpfs docker /var/run/docker
# A short path: a socket's has at most 107 bytes.
run=$(mktemp -d /tmp/dockerd.XXXXXX)
export DOCKER_HOST="unix://$run/docker.sock"

# What a killed run left.
rm -f "$dir/pid"
dockerd --data-root "$dir/data" --exec-root "$run/exec" --host "$DOCKER_HOST" --pidfile "$dir/pid" \
	>"$dir/dockerd.log" 2>&1 &
daemon=$!

stop() {
	trap - EXIT INT TERM
	kill "$daemon" 2>/dev/null || true
	wait "$daemon" || true
	# That of containers which had the daemon's own network.
	umount "$run/exec/netns/default" 2>/dev/null || true
	rm -rf "$run"
}
trap stop EXIT
trap 'exit 1' INT TERM

tries=0
until docker version >/dev/null 2>&1; do
	kill -0 "$daemon" 2>/dev/null || fail "dockerd has ended: $(tail -n 5 "$dir/dockerd.log")"
	tries=$((tries + 1))
	[ $tries -lt 300 ] || fail "dockerd does not answer after 30 s: $(tail -n 5 "$dir/dockerd.log")"
	sleep 0.1
done
"$@"
