#!/usr/bin/env python3
"""Publishes to a channel from Python, with the standard library only.

    python3 scripts/examples/publish.py http://127.0.0.1:8080/orders paid '{"order": 17}'

A publish that had no answer, or was told to come later, is sent again with the same
Idempotency-Key: it is published once, however often it is sent.
"""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

TRIES = 5


def publish(url, data, event=None, key=None):
    """Publishes a text, or anything else as JSON, and returns the id of the event."""
    is_text = isinstance(data, str)
    headers = {
        "Content-Type": "text/plain; charset=utf-8" if is_text else "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    if event:
        url += "?" + urllib.parse.urlencode({"event": event})
    body = (data if is_text else json.dumps(data)).encode("utf-8")
    for attempt in range(1, TRIES + 1):
        request = urllib.request.Request(url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["id"]
        except urllib.error.HTTPError as error:
            # These say when to come again; everything else would be refused again. With a 504
            # nobody knows whether it was published: the Idempotency-Key finds out.
            if error.code not in (429, 503, 504) or attempt == TRIES:
                raise RuntimeError(f"{error.code}: {error.read().decode()}") from error
            time.sleep(int(error.headers.get("Retry-After", "1")))
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            if attempt == TRIES:
                raise
            time.sleep(2 ** (attempt - 1) / 4)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: {sys.argv[0]} URL TYPE DATA (JSON, or a text)")
    url, event, text = sys.argv[1:]
    try:
        data = json.loads(text)
    except ValueError:
        data = text
    print(publish(url, data, event=event, key=os.environ.get("HOLDLINE_PUBLISH_KEY")))
