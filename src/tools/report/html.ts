/** HTML that is safe by construction: text becomes part of it only escaped. */

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * A piece of HTML. Made by {@link html} only, so that whoever holds one knows that it is not text
 * from outside.
 */
export class Html {
  readonly text: string;

  /** Takes the text for HTML as it stands. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What stands between the pieces of a template; a list is its members one after the other. */
export type HtmlValue = string | number | Html | readonly Html[];

/**
 * HTML with values in it: text and numbers are escaped, for an element's content as for an
 * attribute in quotes.
 */
export function html(pieces: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  let text = pieces[0]!;
  for (const [index, value] of values.entries()) text += htmlOf(value) + pieces[index + 1]!;
  return new Html(text);
}

/**
 * An element whose content is no HTML: a program, a style sheet, or data for a program. Throws
 * where the content would end it early.
 */
export function inlineElement(name: 'script' | 'style', content: string, type?: string): Html {
  if (/<\/(?:script|style)|<!--/i.test(content))
    throw new Error(`what is to stand in a ${name} would end it`);
  return new Html(`<${name}${type === undefined ? '' : ` type="${type}"`}>${content}</${name}>`);
}

/**
 * A value for a program in the page to read. No `<` is left in it, since `</script` and `<!--` mean
 * something in every script.
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
