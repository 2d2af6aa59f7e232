/**
 * The command in the hint of a client without a route asks about that very client, and is one command whatever strangers put into
 * a ClientHello: a shell reads each value as one word, and nothing else into it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { noRoute } from '../../src/decide/refusals.ts';
import type { RouteQuery } from '../../src/decide/router.ts';
import { shellWord } from '../../src/net/shell-word.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';

const client: RouteQuery = {
  sni: 'oders.db.example',
  alpn: ['postgresql', 'h2'],
  client: '10.1.2.3',
  ja4: '',
  plain: false,
};

function commandFor(differs: Partial<RouteQuery> = {}): string {
  const { hint = '' } = noRoute('databases', { ...client, ...differs });
  return /`(.*)`[^`]*$/.exec(hint)?.[1] ?? assert.fail(hint);
}

/** The words that a shell makes of a text. */
function wordsOf(text: string): string[] {
  const printed = execFileSync('sh', ['-c', `printf '%s\\0' ${text}`], { encoding: 'utf8' });
  return printed.split('\0').slice(0, -1);
}

test('it has what the client said', () => {
  assert.equal(
    commandFor(),
    'penstock explain --listener=databases --sni=oders.db.example --alpn=postgresql,h2 --from=10.1.2.3',
  );
  assert.equal(
    commandFor({ alpn: [], client: undefined }),
    'penstock explain --listener=databases --sni=oders.db.example',
  );
});

test('whatever a client offers, a shell reads one word', () => {
  for (const alpn of [
    "'; touch here; '",
    '$(touch here)',
    '`touch here`',
    '-c',
    'a b',
    '"',
    '\\',
    '!!',
    '~',
  ]) {
    assert.ok(wordsOf(commandFor({ alpn: [alpn] })).includes(`--alpn=${alpn}`), alpn);
  }
  const printable = fc.string({
    unit: fc.constantFrom(...Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at))),
    minLength: 1,
  });
  fc.assert(
    fc.property(printable, (text) => {
      assert.deepEqual(wordsOf(shellWord(text) ?? ''), [text]);
    }),
    { numRuns: 30 },
  );
});

test('what cannot be pasted is left out', () => {
  for (const alpn of ['\x1b[2J', 'a\nb', '\u009b', 'é']) {
    assert.equal(
      commandFor({ alpn: [alpn] }),
      'penstock explain --listener=databases --sni=oders.db.example --from=10.1.2.3',
    );
  }
});

test('pasted, it explains that client', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(
    join(directory, 'penstock.yaml'),
    'listeners: { databases: { bind: 127.0.0.1:1, routes: [{ sni: orders.db.example, tls: passthrough, upstream: a }] } }\n' +
      'upstreams: { a: { endpoints: [127.0.0.1:2] } }\n',
  );
  const [, ...args] = wordsOf(commandFor());
  const { code, stdout, stderr } = await penstockCommand([...args, '--json'], { cwd: directory });
  assert.equal(code, 0, stderr);
  const { client: explained, code: ending } = JSON.parse(stdout);
  assert.deepEqual(
    [explained.sni, explained.alpn, explained.address, ending],
    ['oders.db.example', ['postgresql', 'h2'], '10.1.2.3', 'ERR_NO_ROUTE'],
  );
});
