/** The content coding of an answer, by Accept-Encoding (RFC 9110, 12.5.3). */

/**
 * `Vary` of what a channel answers: another client is sent a stream or a poll, plain or within gzip
 * (RFC 9110, 12.5.5).
 */
export const VARIES_BY = 'Accept, Accept-Encoding';

/** The last field and what it means: clients of one kind all send the same. */
let lastField = '';
let lastAnswer = false;

/**
 * True if the client takes gzip, by name or by `*`, with a weight above 0. A client that likes
 * another coding better may still be sent this one.
 */
export function acceptsGzip(acceptEncoding: string): boolean {
  if (acceptEncoding !== lastField) {
    lastAnswer = read(acceptEncoding);
    lastField = acceptEncoding;
  }
  return lastAnswer;
}

function read(field: string): boolean {
  const weights = new Map<string, number>();
  for (const item of field.toLowerCase().split(',')) {
    const [coding = '', ...parameters] = item.split(';').map((part) => part.trim());
    const q = parameters.find((parameter) => parameter.startsWith('q='));
    weights.set(coding, q === undefined ? 1 : Number(q.slice(2)));
  }
  const weight = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0;
  return weight > 0 && weight <= 1;
}
