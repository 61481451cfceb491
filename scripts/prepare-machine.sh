#!/usr/bin/env bash
# What the tests need beside Node: a Chromium (EventSource as browsers have it; the one without a window takes less time), a C
# compiler (native-notes, the send() loop of the bench), nginx, haproxy and caddy (what stands in front of a server), nats-server
# (the distributed log), Python's requests and httpx (clients). Installs what is missing on Debian as root; elsewhere it says in words what to install, and the tests that need it will fail and say so.
set -euo pipefail

missing=()
wanted=()
if ! command -v chromium-headless-shell > /dev/null && ! command -v chromium > /dev/null; then
  missing+=(chromium-headless-shell)
  wanted+=('chromium-headless-shell or chromium (the tests in test/browser.wire.ts)')
fi
if ! command -v gcc > /dev/null; then
  missing+=(gcc)
  wanted+=('gcc (native-notes/probes, bench/servers)')
fi
if ! printf '#include <stdio.h>\n' | gcc -E -x c - > /dev/null 2>&1; then
  missing+=(libc6-dev)
  wanted+=('the headers of the C library (on Debian libc6-dev)')
fi
for proxy in nginx haproxy caddy; do
  if ! command -v "$proxy" > /dev/null; then
    missing+=("$proxy")
    wanted+=("$proxy (what stands in front of a server, in test/proxies.wire.ts and test/doctor.wire.ts)")
  fi
done
if ! command -v nats-server > /dev/null; then
  missing+=(nats-server)
  wanted+=('nats-server (the log of several machines, in test/nats-log.wire.ts)')
fi
if ! command -v ip > /dev/null; then
  missing+=(iproute2)
  wanted+=('ip (on Debian iproute2: peers that vanish, in test/socket-options.wire.ts and native-notes/dead-peer.md)')
fi
# Debian's own Python and not one that stands before it in the path.
for module in requests httpx; do
  if ! /usr/bin/python3 -c "import $module" > /dev/null 2>&1; then
    missing+=(python3 "python3-$module")
    wanted+=("/usr/bin/python3 with $module (clients in Python, in test/clients)")
  fi
done
if ! command -v openssl > /dev/null; then
  missing+=(openssl)
  wanted+=('openssl (certificates, in test/tls.wire.ts and test/doctor-command.wire.ts)')
fi
((${#missing[@]} == 0)) && exit 0

if command -v apt-get > /dev/null && [[ "$(id -u)" == 0 ]]; then
  echo "prepare-machine: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # Another apt on the machine may hold the lock for a while.
  options=(-qq -o DPkg::Lock::Timeout=300)
  # dpkg's words for each package go to a file; they are only of interest when it fails.
  log=$(mktemp)
  apt-get "${options[@]}" update > "$log" 2>&1 || true
  # Older releases have the browser only.
  apt-cache show chromium-headless-shell > /dev/null 2>&1 || missing=("${missing[@]/chromium-headless-shell/chromium}")
  if apt-get "${options[@]}" install --yes --no-install-recommends "${missing[@]}" >> "$log" 2>&1 < /dev/null; then
    rm -f "$log"
    exit 0
  fi
  tail -n 20 "$log" >&2
  echo "prepare-machine: apt-get could not install them (all it said: $log)" >&2
fi

echo 'prepare-machine: some tests need what is not installed here. Please install:' >&2
printf '  %s\n' "${wanted[@]}" >&2
