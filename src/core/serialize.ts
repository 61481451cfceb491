/**
 * Serializers: objects published through the library become JSON, by the schema of their event type
 * if it has one.
 */
import { createRequire } from 'node:module';
import type fastJsonStringify from 'fast-json-stringify';
import type { Schema } from 'fast-json-stringify';
import { asError, HoldlineError } from '../errors.js';

/** JSON Schemas by event type. */
export type EventSchemas = Readonly<Record<string, object>>;

/** Compiles each schema once. Throws HOLDLINE_BAD_OPTION for one that does not compile. */
export function compileSerializers(
  schemas: EventSchemas,
): (type: string | undefined, value: unknown) => string {
  const serializers = new Map<string, (value: unknown) => string>();
  for (const [type, schema] of Object.entries(schemas)) {
    try {
      serializers.set(type, compiler()(schema as Schema));
    } catch (cause) {
      throw new HoldlineError(
        'HOLDLINE_BAD_OPTION',
        `eventSchemas: the schema of "${type}" does not compile: ${asError(cause).message}`,
        { cause },
      );
    }
  }
  return (type, value) => {
    const serialize = type === undefined ? undefined : serializers.get(type);
    try {
      const text = serialize === undefined ? JSON.stringify(value) : written(serialize(value));
      if (text !== undefined) return text;
    } catch (cause) {
      const by = serialize === undefined ? '' : ` by the schema of "${type}"`;
      throw new HoldlineError(
        'HOLDLINE_BAD_JSON',
        `the data cannot be written as JSON${by}: ${asError(cause).message}`,
        { cause },
      );
    }
    throw new HoldlineError(
      'HOLDLINE_BAD_JSON',
      `a value of type ${typeof value} cannot be written as JSON; publish a string, bytes or an object`,
    );
  };
}

/**
 * The text, which is read once: where a schema allows anything, a function in the data is written
 * as `undefined`, and text of the format "unsafe" as it is. Who reads that as JSON would fail.
 */
function written(text: string): string {
  JSON.parse(text);
  return text;
}

/** Loaded when it is needed: with its parts it takes 9 MB and 60 ms of a start. */
function compiler(): typeof fastJsonStringify {
  return createRequire(import.meta.url)('fast-json-stringify') as typeof fastJsonStringify;
}
