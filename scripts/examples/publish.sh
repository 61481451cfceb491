#!/usr/bin/env bash
# Publishes each line of its input to a channel, with curl.
#
#   tail -F app.log | scripts/examples/publish.sh http://127.0.0.1:8080/log line
#
# What had no answer, or was told to come later (503), is sent again; the Idempotency-Key makes sure that a line is then published
# once. The key to publish with, if the server asks for one, is in HOLDLINE_PUBLISH_KEY.
set -euo pipefail

(($# == 2)) || { echo "usage: $0 URL TYPE < lines" >&2; exit 2; }
url=$1 type=$2

headers=(-H 'Content-Type: text/plain; charset=utf-8')
# From a file descriptor: what stands on the command line, everyone on the machine can read.
[[ -z "${HOLDLINE_PUBLISH_KEY:-}" ]] || headers+=(-H @/dev/fd/3)

# Sends one body. curl heeds Retry-After itself.
send() {
  curl --silent --show-error --fail-with-body --max-time 10 --retry 5 --retry-max-time 60 \
    "${headers[@]}" -H "Idempotency-Key: $1" --data-binary @- "$url?event=$type" \
    3<<< "Authorization: Bearer ${HOLDLINE_PUBLISH_KEY:-}"
}

while IFS= read -r line || [[ -n "$line" ]]; do
  key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  tries=1
  until answer=$(printf '%s' "$line" | send "$key"); do
    # 22 is a refusal, which would be the same again; all others are faults on the way.
    if (($? == 22 || tries++ == 5)); then
      echo "$answer" >&2
      exit 1
    fi
    sleep 1
  done
  echo "$answer"
done
