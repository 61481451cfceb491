/**
 * The answer of a language model, token by token. Each answer is a channel of its own: whoever is
 * cut off resumes where they were, a second tab reads along, and at its end the stream ends.
 *
 *   node scripts/examples/token-stream.js      then open http://127.0.0.1:3000
 */
import { randomUUID } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer } from 'holdline';

const PORT = Number(process.env.PORT ?? 8080);
const APP_PORT = Number(process.env.APP_PORT ?? 3000);
/** How long an answer is kept after its last token, for those who are cut off just then. */
const KEEP_MS = Number(process.env.KEEP_MS ?? 60_000);
const ORIGINS = [`http://127.0.0.1:${APP_PORT}`, `http://localhost:${APP_PORT}`];

const events = createServer({ port: PORT, allowOrigin: ORIGINS });
await events.listen();

/** Stands for your model: yields an answer in pieces. */
async function* complete(question) {
  const text = `You asked "${question}". An answer takes a while, so it is shown as it is made.`;
  for (const token of text.match(/\S+\s*/g)) {
    await sleep(40);
    yield token;
  }
}

/** Publishes each token, then that there are no more. */
async function answer(name, question) {
  const channel = events.channel(name);
  let count = 0;
  try {
    for await (const token of complete(question)) {
      // Waits where readers take less than is made, so an answer cannot run ahead of them.
      await channel.publish({ event: 'token', data: token });
      count++;
    }
    await channel.publish({ event: 'done', data: { tokens: count } });
  } catch (error) {
    await channel.publish({ event: 'failed', data: { message: String(error) } });
  }
  await sleep(KEEP_MS, undefined, { ref: false });
  // Ends the lines that are left; an EventSource that asks later gets 204 and stops.
  await channel.delete();
}

const PAGE = `<!doctype html><meta charset="utf-8"><title>Token stream</title>
<form><input name="question" value="Why is the sky blue?" size="40"><button>Ask</button></form>
<p id="answer"></p>
<script type="module">
  document.forms[0].onsubmit = async (event) => {
    event.preventDefault();
    const response = await fetch('/ask', { method: 'POST', body: event.target.question.value });
    const { stream } = await response.json();
    const place = document.querySelector('#answer');
    place.textContent = '';
    // From the beginning: the first tokens may have been published before this page listens.
    const source = new EventSource(stream + '?last_event_id=0');
    source.addEventListener('token', ({ data }) => place.append(data));
    // The answer is complete. Without close() the browser would wait for more.
    source.addEventListener('done', () => source.close());
    source.addEventListener('failed', ({ data }) => { place.append(data); source.close(); });
  };
</script>`;

const app = createHttpServer((request, response) => void respond(request, response));

async function respond(request, response) {
  if (request.method !== 'POST') {
    response.setHeader('Content-Type', 'text/html').end(PAGE);
    return;
  }
  let question = '';
  for await (const piece of request.setEncoding('utf8')) question += piece;
  // Nobody can guess the name, so only who has asked can listen.
  const name = `answer-${randomUUID()}`;
  void answer(name, question);
  response
    .setHeader('Content-Type', 'application/json')
    .end(JSON.stringify({ stream: `http://127.0.0.1:${PORT}/${name}` }));
}
app.listen(APP_PORT, '127.0.0.1', () => console.log(`open http://127.0.0.1:${APP_PORT}`));
