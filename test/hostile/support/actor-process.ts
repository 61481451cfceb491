/** The child's end of cast.ts: begins actors, looks at them and stops them as it is asked. */
import { type Acting, type Actor } from './actor.js';
import { ACTORS, type Answer, type Question } from './actors.js';

const acting = new Map<number, Acting>();
let begun = 0;

async function answerTo(question: Question): Promise<unknown> {
  if ('begin' in question) {
    const actor = ACTORS[question.begin] as Actor<unknown>;
    acting.set(++begun, await actor(question.port, question.parameters));
    return begun;
  }
  const handle = 'look' in question ? question.look : question.stop;
  const one = acting.get(handle);
  if (one === undefined) throw new Error(`nothing of the number ${handle} is at work`);
  if ('look' in question) return one.look();
  acting.delete(handle);
  return one.stop();
}

process.on('message', (message) => {
  const question = message as Question;
  const send = (answer: Answer): void => void process.send?.(answer);
  answerTo(question).then(
    (value) => send({ ask: question.ask, value }),
    (error: unknown) =>
      send({
        ask: question.ask,
        error: error instanceof Error ? String(error.stack) : String(error),
      }),
  );
});
process.on('disconnect', () => process.exit(0));
