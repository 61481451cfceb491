// Header names, values and the status line go out as they are: CR LF in them makes new headers.
import { RawClient, listen, main, uWS, until } from './support.js';
import type { HttpResponse, ProbeResult, Row } from './support.js';

export async function probe(): Promise<ProbeResult> {
  const cases: [string, (response: HttpResponse) => unknown, string][] = [
    [
      'CR LF in a value',
      (response) => response.writeHeader('X-A', 'a\r\nInjected: yes'),
      'X-A: a\r\nInjected: yes\r\n',
    ],
    [
      'CR LF in a name',
      (response) => response.writeHeader('X-A: a\r\nInjected', 'yes'),
      'X-A: a\r\nInjected: yes\r\n',
    ],
    [
      'CR LF in the status',
      (response) => response.writeStatus('200 OK\r\nInjected: yes'),
      'HTTP/1.1 200 OK\r\nInjected: yes\r\n',
    ],
    [
      'a blank line in a value',
      (response) => response.writeHeader('X-A', 'a\r\n\r\nbody'),
      'X-A: a\r\n\r\nbody\r\n',
    ],
    ['NUL in a value', (response) => response.writeHeader('X-A', 'a\0b'), 'X-A: a\0b\r\n'],
    ['é in a value', (response) => response.writeHeader('X-A', 'é'), 'X-A: \u00c3\u00a9\r\n'],
    [
      'an own Content-Length',
      (response) => response.writeHeader('Content-Length', '7'),
      'Content-Length: 7\r\n',
    ],
    [
      'status written twice',
      (response) => response.writeStatus('200 OK').writeStatus('500 No'),
      'HTTP/1.1 200 OK\r\n',
    ],
    [
      'status after a header',
      (response) => response.writeHeader('X-A', 'a').writeStatus('404 Not Found'),
      'HTTP/1.1 200 OK\r\n',
    ],
  ];
  const app = uWS.App().get('/:case', (response, request) => {
    cases[Number(request.getParameter(0))]?.[1](response);
    response.end('ok');
  });
  const { port } = await listen(app);
  const rows: Row[] = [];
  let holds = true;
  for (const [at, [name, , expected]] of cases.entries()) {
    const client = new RawClient(port).get(`/${String(at)}`);
    await until(() => client.text().endsWith('ok'), name);
    const passed = client.text().includes(expected);
    holds &&= passed;
    const shown = client
      .text()
      .split('\r\n')
      .filter((line) => !/^(Date|uWebSockets):/.test(line))
      .join('\r\n');
    rows.push({ case: name, 'as given': passed, 'on the wire': JSON.stringify(shown) });
    client.destroy();
  }
  return {
    claim:
      'writeHeader and writeStatus check nothing: CR, LF and NUL pass, strings go out as UTF-8; a second status is ignored, and so is one after a header; end() adds a second Content-Length.',
    holds,
    rows,
  };
}

await main(import.meta.url, probe);
