"""Reads an event stream with requests or httpx: an event a line as JSON on standard output.

Comes back after `retry` with Last-Event-ID, and stops at 204, as an EventSource does
(HTML Standard, 9.2).  python3 reader.py requests|iter_lines|httpx URL
"""
import json
import sys
import time

RETRY_SECONDS = 3.0


def lines_of_requests(url, headers):
    import requests

    with requests.get(url, headers=headers, stream=True, timeout=(5, 60)) as answer:
        # Not iter_lines(): urllib3 hands a chunk over when it has read the line break behind it,
        # which comes in front of the next chunk. readline() reads byte by byte instead.
        lines = iter(answer.raw.readline, b'')
        yield answer.status_code, (line.decode().rstrip('\n') for line in lines)


def lines_of_iter_lines(url, headers):
    """What most programs do: each event comes with the next write to the stream."""
    import requests

    with requests.get(url, headers=headers, stream=True, timeout=(5, 60)) as answer:
        yield answer.status_code, answer.iter_lines(decode_unicode=True)


def lines_of_httpx(url, headers):
    import httpx

    with httpx.stream('GET', url, headers=headers, timeout=httpx.Timeout(5, read=60)) as answer:
        # Its lines keep their line feed in some versions.
        yield answer.status_code, (line.rstrip('\n') for line in answer.iter_lines())


OPENERS = {
    'requests': lines_of_requests,
    'iter_lines': lines_of_iter_lines,
    'httpx': lines_of_httpx,
}


class Reader:
    def __init__(self, take):
        self.take = take
        self.last_event_id = ''
        self.retry_seconds = RETRY_SECONDS

    def read(self, lines):
        """Dispatches the events of one stream."""
        event, data, event_id = 'message', [], self.last_event_id
        for line in lines:
            if line == '':
                self.last_event_id = event_id
                if data:
                    self.take(event, '\n'.join(data))
                event, data = 'message', []
                continue
            field, _, value = line.partition(':')
            value = value[1:] if value.startswith(' ') else value
            if field == 'data':
                data.append(value)
            elif field == 'event':
                event = value
            elif field == 'id':
                event_id = value
            elif field == 'retry' and value.isdigit():
                self.retry_seconds = int(value) / 1000

    def run(self, url, open_stream):
        """Reads until the server says that there will be nothing more."""
        while True:
            headers = {'Accept': 'text/event-stream'}
            if self.last_event_id:
                headers['Last-Event-ID'] = self.last_event_id
            try:
                for status, lines in open_stream(url, headers):
                    if status == 204:
                        return
                    if status == 200:
                        self.read(lines)
            except Exception as error:  # The network; each library has errors of its own.
                print(error, file=sys.stderr)
            time.sleep(self.retry_seconds)


if __name__ == '__main__':
    library, address = sys.argv[1:3]
    Reader(
        lambda event, data: print(json.dumps({'type': event, 'data': data}), flush=True)
    ).run(address, OPENERS[library])
