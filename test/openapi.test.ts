/**
 * The OpenAPI description against what it describes: the routes, the codes of refusals and the
 * names of queries; and whether it is sound in itself. What a server answers: openapi.wire.ts.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { REFUSALS, type RefusalCode } from '../src/errors.js';
import { QUERY_NAMES } from '../src/http/query.js';
import { channelsOf } from '../src/http/request.js';
import { DEMO_PAGES } from '../src/ops/demo.js';
import { OPENAPI } from '../src/ops/openapi.js';
import { makePages } from '../src/ops/pages.js';
import { makeActions } from '../src/server/actions.js';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: { readonly pattern?: string };
}

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: object };
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}

const METHODS = ['get', 'post', 'delete'] as const;
type PathItem = { readonly parameters?: readonly Parameter[] } & {
  readonly [method in (typeof METHODS)[number]]?: Operation;
};

const PATHS = OPENAPI.paths as unknown as Readonly<Record<string, PathItem>>;

/** `METHOD path` and the operation, of all that are described. */
const OPERATIONS = Object.entries(PATHS).flatMap(([path, item]) =>
  METHODS.flatMap((method) => {
    const operation = item[method];
    return operation === undefined
      ? []
      : [{ route: `${method.toUpperCase()} ${path}`, path, item, operation }];
  }),
);

/** The codes that the operations name. */
const NAMED = new Set(
  OPERATIONS.flatMap(({ operation }) =>
    Object.values(operation.responses).flatMap(
      ({ description }) => description.match(/HOLDLINE_[A-Z_0-9]+/g) ?? [],
    ),
  ),
);

describe('every route is described, and nothing else', () => {
  test('pages and actions under /-/', () => {
    const pages = [...makePages({} as never, true).keys()]
      .filter((name) => !(name in DEMO_PAGES))
      .map((name) => name.replace(/\/$/, '/{channel}'));
    const actions = [...makeActions({} as never)].flatMap(([path, methods]) =>
      [...methods.keys()].map((method) => `${method} /-/${path}`),
    );
    const served = [...new Set([...pages.map((name) => `GET /-/${name}`), ...actions])];
    const described = OPERATIONS.map(({ route }) => route).filter((route) =>
      route.includes(' /-/'),
    );
    expect(described.toSorted()).toEqual(served.toSorted());
  });

  test('the server has no actions but those of the table', () => {
    const server = readFileSync(new URL('../src/server/server.ts', import.meta.url), 'utf8');
    expect(server.match(/^\s*actions: .*$/gm)).toHaveLength(1);
    expect(server).toContain('actions: makeActions({');
  });

  test('channels, and the page at /', () => {
    const described = OPERATIONS.map(({ route }) => route).filter(
      (route) => !route.includes(' /-/'),
    );
    expect(described).toEqual(['GET /', 'GET /{channel}', 'POST /{channel}', 'DELETE /{channel}']);
  });
});

describe('every code of a refusal', () => {
  /** Codes of the routes that are named here, until they are described. */
  const LATER: Partial<Record<RefusalCode, string>> = {
    HOLDLINE_REVOCATIONS_FULL: 'DELETE /-/connections',
  };

  test('is named by an operation, or by the text for all paths', () => {
    const text = OPENAPI.info.description;
    const routes = new Set(OPERATIONS.map(({ route }) => route));
    const missing = (Object.keys(REFUSALS) as RefusalCode[]).filter((code) => {
      const route = LATER[code];
      return !NAMED.has(code) && !text.includes(code) && (!route || routes.has(route));
    });
    expect(missing).toEqual([]);
  });

  test('that is named is one, and stands under its status', () => {
    for (const { route, operation } of OPERATIONS) {
      for (const [status, { description }] of Object.entries(operation.responses)) {
        if (Number(status) < 400 || !description.startsWith('HOLDLINE_')) continue;
        for (const code of description.split(', '))
          expect([route, code, REFUSALS[code as RefusalCode].status]).toEqual([
            route,
            code,
            Number(status),
          ]);
      }
    }
    expect([...NAMED].filter((code) => !(code in REFUSALS))).toEqual([]);
    expect(OPENAPI.components.schemas.Refusal.properties).toMatchObject({
      error: { properties: { code: { enum: Object.keys(REFUSALS) } } },
    });
  });
});

test.each([
  // A ticket is read by who checks credentials.
  ['GET', [...QUERY_NAMES.GET, 'ticket']],
  ['POST', QUERY_NAMES.POST],
  ['DELETE', QUERY_NAMES.DELETE],
] as const)(
  'the names in the query of a %s to a channel are those that are read',
  (method, names) => {
    const { parameters = [] } = PATHS['/{channel}']![method.toLowerCase() as 'get'] as Operation;
    const described = parameters.filter((one) => one.in === 'query').map(({ name }) => name);
    expect(described).toEqual(names);
  },
);

describe('the description is sound', () => {
  /** All members of that name, wherever they stand. */
  function membersOf(value: unknown, name: string): unknown[] {
    if (typeof value !== 'object' || value === null) return [];
    return Object.entries(value as Record<string, unknown>).flatMap(([key, member]): unknown[] => [
      ...(key === name ? [member] : []),
      ...membersOf(member, name),
    ]);
  }

  test('it is of OpenAPI 3.1, and JSON', () => {
    expect(OPENAPI.openapi).toMatch(/^3\.1\.\d$/);
    expect(JSON.parse(JSON.stringify(OPENAPI))).toEqual(OPENAPI);
  });

  test('references lead somewhere, and every schema is used', () => {
    const schemas = Object.keys(OPENAPI.components.schemas);
    const used = membersOf(OPENAPI, '$ref').map((reference) => {
      expect(reference).toMatch(/^#\/components\/schemas\/\w+$/);
      return String(reference).split('/').at(-1)!;
    });
    expect([...new Set(used)].toSorted()).toEqual(schemas.toSorted());
  });

  test('operations have names of their own, statuses, descriptions, and the parameters of their path', () => {
    const ids = OPERATIONS.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, item, operation } of OPERATIONS) {
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      const inPath = parameters.filter((one) => one.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(inPath.every(({ required }) => required)).toBe(true);
      const names = parameters.map((one) => `${one.in} ${one.name}`);
      expect(new Set(names).size).toBe(names.length);
      expect(parameters.every((one) => 'schema' in one)).toBe(true);
      expect(Object.keys(operation.responses).every((status) => /^[1-5]\d\d$/.test(status))).toBe(
        true,
      );
      for (const { description } of Object.values(operation.responses))
        expect(description).toMatch(/\w/);
    }
  });

  test('its pattern takes the names that the server takes', () => {
    const pattern = new RegExp(PATHS['/{channel}']!.parameters![0]!.schema.pattern!, 'u');
    for (const path of ['a', 'org/7/alerts', 'a:b@c,x.y/~_-', '-', 'a,b'])
      expect([pattern.test(path), channelsOf(`/${path}`).length > 0]).toEqual([true, true]);
    for (const path of ['', '/', 'a//b', 'a/', 'a..b', '.a', 'a,', 'a b', 'a%7Eb', 'a*'])
      expect([path, pattern.test(path)]).toEqual([path, false]);
  });
});
