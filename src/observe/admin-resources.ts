/** What the admin endpoint serves, by path. */
import type { AdminSource } from './admin-source.ts';
import {
  type CommandResult,
  type DrainPlace,
  readDrainPlace,
  readOnly,
  readSessionQuery,
} from './commands.ts';
import type { Page } from './page.ts';

export type Answer = {
  readonly status: number;
  readonly type: 'text/plain' | 'application/json' | 'text/html' | 'text/plain; version=0.0.4';
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Resource = {
  readonly method: 'GET' | 'POST';
  /** Whether it is served on every address. */
  readonly isPublic: boolean;
  /** A command: needs the header that no other site can have a browser send. */
  readonly isCommand?: boolean;
  readonly answer: (source: AdminSource, request: Asked) => Answer | Promise<Answer>;
};

/** `given` are the parameters of the address. */
type Asked = { readonly page: Page; readonly given: URLSearchParams };

export const resources = new Map<string, Resource>([
  [
    '/metrics',
    {
      method: 'GET',
      isPublic: true,
      answer: async (source) => ({
        status: 200,
        type: 'text/plain; version=0.0.4',
        body: await source.metrics(),
      }),
    },
  ],
  ['/healthz', { method: 'GET', isPublic: true, answer: (source) => yesOrNo(source.healthy(), 'healthy') }],
  ['/readyz', { method: 'GET', isPublic: true, answer: (source) => yesOrNo(source.ready(), 'ready') }],
  ['/status', { method: 'GET', isPublic: false, answer: async (source) => json(200, await source.status()) }],
  [
    '/',
    {
      method: 'GET',
      isPublic: false,
      answer: (_, { page: { html, policy } }) => ({
        status: 200,
        type: 'text/html',
        body: html,
        headers: { 'Content-Security-Policy': policy },
      }),
    },
  ],
  [
    '/reload',
    {
      method: 'POST',
      isPublic: false,
      async answer(source) {
        const result = await source.reload();
        return json(result.ok ? 200 : 422, result);
      },
    },
  ],
  [
    '/sessions',
    {
      method: 'GET',
      isPublic: false,
      async answer({ commands }, { given }) {
        const query = readSessionQuery(given);
        if (typeof query === 'string') return text(400, query);
        const found = await commands.sessions(query);
        return json('fault' in found ? 422 : 200, found);
      },
    },
  ],
  ['/kill', command(({ commands }, given) => one(given, 'conn', commands.kill))],
  ['/drain', command(({ commands }, given) => place(given, commands.drain))],
  ['/undrain', command(({ commands }, given) => place(given, commands.undrain))],
  ['/log-level', command(({ commands }, given) => one(given, 'level', commands.logLevel))],
]);

type Carried = Promise<CommandResult> | string;

/** `carry` returns what is wrong with the request, or carries the command out. */
function command(carry: (source: AdminSource, given: URLSearchParams) => Carried): Resource {
  return {
    method: 'POST',
    isPublic: false,
    isCommand: true,
    async answer(source, { given }) {
      const carried = carry(source, given);
      if (typeof carried === 'string') return text(400, carried);
      const result = await carried;
      return json(result.ok ? 200 : 422, result);
    },
  };
}

function one(given: URLSearchParams, key: string, carry: (value: string) => Promise<CommandResult>): Carried {
  const value = readOnly(given, key);
  return value ? carry(value) : `expected ${key}, and nothing else`;
}

function place(given: URLSearchParams, carry: (place: DrainPlace) => Promise<CommandResult>): Carried {
  const read = readDrainPlace(given);
  return typeof read === 'string' ? read : carry(read);
}

function yesOrNo(is: boolean, word: string): Answer {
  return text(is ? 200 : 503, is ? word : `not ${word}`);
}

export function text(status: number, line: string): Answer {
  return { status, type: 'text/plain', body: `${line}\n` };
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}
