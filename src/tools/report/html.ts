/** HTML that is safe by construction: text enters it only escaped. */

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** A piece of HTML. Only {@link html} makes one, so it is never text from outside. */
export class Html {
  readonly text: string;

  /** Takes the text as HTML, without escaping it. */
  constructor(text: string) {
    this.text = text;
  }
}

/** A value in a template. The members of a list follow one another. */
export type HtmlValue = string | number | Html | readonly Html[];

/**
 * HTML from a template. Text and numbers are escaped, for the content of elements as well as for
 * attributes in quotes.
 */
export function html(pieces: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let text = pieces[0]!;
  for (const [index, value] of values.entries()) text += htmlOf(value) + pieces[index + 1]!;
  return new Html(text);
}

/**
 * An element with content that is not HTML: a program, a style sheet, or data for a program. Throws
 * when the content would end the element early.
 */
export function inlineElement(name: 'script' | 'style', content: string, type?: string): Html {
  if (/<\/(?:script|style)|<!--/i.test(content))
    throw new Error(`the content of a ${name} element would end it`);
  return new Html(`<${name}${type === undefined ? '' : ` type="${type}"`}>${content}</${name}>`);
}

/**
 * A value for the page's program. It contains no `<`, since `</script` and `<!--` have a meaning in
 * every script element.
 */
export function jsonElement(value: unknown): Html {
  return inlineElement(
    'script',
    JSON.stringify(value).replaceAll('<', String.raw`\u003c`),
    'application/json',
  );
}

function htmlOf(value: HtmlValue): string {
  if (value instanceof Html) return value.text;
  if (typeof value === 'object') return value.map(({ text }) => text).join('');
  return String(value).replaceAll(/[&<>"']/g, (character) => ESCAPES[character]!);
}
