/**
 * What the pages say holds: each link leads somewhere, each test and file that docs/security.md names is there, each command
 * exists with its flags, each configuration loads, and the example of a check of your own works.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { ConfigError, loadText, sharedText } from '../../src/config/load.ts';
import { configSchema } from '../../src/config/schema/schema.ts';
import { createAuthorizer } from '../../src/tls/client-auth/authorize.ts';
import type { ClientCertificate, ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { misuse } from '../support/command-help.ts';
import { blocks, inlineCode, pages, readPage } from '../support/pages.ts';
import { simpleCommands } from '../support/shell-words.ts';

const root = join(import.meta.dirname, '../..');

/** Each link to a file leads to one that is there, each `#anchor` to a heading of that page. */
describe('links', () => {
  for (const page of pages) {
    describe(page, () => {
      for (const link of new Set(links(page).filter((target) => !/^[a-z]+:/.test(target)))) {
        test(link, () => {
          const [path = '', anchor] = link.split('#');
          const target = path === '' ? page : relative(root, join(root, dirname(page), path));
          assert.ok(existsSync(join(root, target)), `${target} is not there`);
          if (anchor === undefined) return;
          assert.ok(anchors(target).has(anchor), `${target} has no heading for #${anchor}`);
        });
      }
    });
  }
});

/** Markdown without what is code: links there are none. */
function prose(page: string): string {
  return readPage(page)
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, (code) => ' '.repeat(code.length));
}

/** `[text](target)`, with the text perhaps over two lines. */
function links(page: string): string[] {
  return [...prose(page).matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
}

/** A heading's anchor as GitHub makes it: lower case, punctuation dropped, spaces to hyphens, repeated ones numbered. */
function anchors(page: string): Set<string> {
  const seen = new Map<string, number>();
  const headings = [
    ...readPage(page)
      .replace(/^```.*?^```$/gms, '')
      .matchAll(/^#{1,6} +(.+)$/gm),
  ];
  return new Set(
    headings.map(([, heading = '']) => {
      const anchor = heading
        .trim()
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\p{Pc} -]/gu, '')
        .replaceAll(' ', '-');
      const count = seen.get(anchor) ?? 0;
      seen.set(anchor, count + 1);
      return count === 0 ? anchor : `${anchor}-${count}`;
    }),
  );
}

/** In whatever folder they are. */
const testNames = new Set(
  readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => basename(file, '.test.ts')),
);

test('the tests that docs/security.md names are there', () => {
  const table = readPage('docs/security.md').match(/^\| \d .*$/gm) ?? [];
  assert.equal(table.length, 9);
  for (const row of table) {
    const named = [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    assert.ok(named.length > 0, row);
    for (const name of named) assert.ok(testNames.has(name), `${name} is not there`);
    const files = [...row.matchAll(/`(src\/[^`]+)`/g)].map((match) => match[1] ?? '');
    for (const file of files) assert.ok(existsSync(join(root, file)), `${file} is not there`);
  }
});

test('the tests that keep attacks away are there', () => {
  const section = /^## Attacks$(.*?)^### /ms.exec(readPage('docs/security.md'))?.[1] ?? '';
  const rows = section.match(/^\| .*$/gm)?.slice(2) ?? [];
  assert.ok(rows.length > 20);
  for (const row of rows) {
    const named = [...(row.split('|').at(-2) ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    assert.ok(named.length > 0, row);
    for (const name of named) assert.ok(testNames.has(name), `${name} is not there`);
  }
});

/**
 * Each `penstock …` and `npm run …`, in a block or within a sentence, names a command that there is, with flags that it has; those
 * in blocks have all arguments that they need, too.
 */
describe('commands', () => {
  test('in blocks', async (t) => {
    const found = blocks().filter(({ language }) => language === 'sh');
    assert.ok(found.length > 50);
    for (const page of pages) {
      await t.test(page, async () => {
        const faults: string[] = [];
        for (const { line, text } of found.filter((block) => block.page === page))
          for (const words of simpleCommands(text)) faults.push(...(await faultOf(words, false, line)));
        assert.deepEqual(faults, []);
      });
    }
  });

  test('within sentences', async () => {
    const found = inlineCode().filter(({ text }) => /^(penstock|npm (run|test|start)) /.test(text));
    assert.ok(found.length > 20);
    const faults: string[] = [];
    for (const { page, line, text } of found)
      for (const words of simpleCommands(text.replace('…', '')))
        for (const fault of await faultOf(words, true, line)) faults.push(`${page}: ${fault}`);
    assert.deepEqual(faults, []);
  });

  test('what is checked can fail', async () => {
    const commands = simpleCommands(
      'penstock chekc; A=1 penstock check --jsn # no\npenstock pki issue dir && sudo penstock top --admin \\\n :1 x | wc\nnpm run nothing',
    );
    const faults = (await Promise.all(commands.map((words) => faultOf(words, false, 1)))).flat();
    assert.deepEqual(faults, [
      'line 1: penstock has no command chekc',
      'line 1: penstock check has no --jsn',
      'line 1: penstock pki issue needs 2 arguments, not 1',
      'line 1: penstock top takes 0 arguments, not 1',
      'line 1: there is no npm script nothing',
    ]);
  });
});

const scripts: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
).scripts;
/** They run what follows them. */
const wrappers = ['setpriv', 'systemd-socket-activate', 'sudo', 'timeout'];

/** In a list that is empty if there is none. `line` is where the block begins. */
async function faultOf(all: readonly string[], loose: boolean, line: number): Promise<string[]> {
  const words = all.slice(all.findIndex((word) => !/^\w+=/.test(word)));
  const at = wrappers.includes(words[0] ?? '') ? words.findIndex(isPenstock) : 0;
  const fault = isPenstock(words[at] ?? '')
    ? await misuse(words.slice(at + 1), loose)
    : await npmFault(words, loose);
  return fault === undefined ? [] : [`line ${line}: ${fault}`];
}

function isPenstock(word: string): boolean {
  return word === 'penstock' || word.endsWith('/bin/penstock');
}

async function npmFault(
  [npm, run, ...words]: readonly string[],
  loose: boolean,
): Promise<string | undefined> {
  if (npm !== 'npm' || run !== 'run') return undefined;
  const [name = '', ...rest] = words.filter((word) => word !== '-s');
  const script = scripts[name];
  if (script === undefined) return name === '' && loose ? undefined : `there is no npm script ${name}`;
  const given = rest[0] === '--' ? rest.slice(1) : rest;
  if (/src\/main\.ts( load)?$/.test(script))
    return misuse(name === 'load' ? ['load', ...given] : given, loose);
  const source = sourceOf(script);
  const unknown = given.find((word) => /^--[a-z]/.test(word) && !source.includes(word.slice(2)));
  return unknown === undefined ? undefined : `npm run ${name} has no ${unknown}`;
}

/** The text of the files beside the one that an npm script runs. */
function sourceOf(script: string): string {
  const file = /(\S+\.ts)\b/.exec(script)?.[1] ?? '';
  return globSync(`${dirname(file)}/*.ts`, { cwd: root })
    .map((path) => readFileSync(join(root, path), 'utf8'))
    .join('\n');
}

/** Each is one that penstock takes, but for the files that it names, which are not there. All keys of a part are known. */
describe('configurations', () => {
  const known = new Set(Object.keys(configSchema.shape));
  const yaml = blocks().filter(({ language }) => language === 'yaml');
  const keysOf = (text: string): string[] => Object.keys(parse(text));
  // One that binds nothing is for others to include.
  const isWhole = (text: string): boolean =>
    keysOf(text).includes('listeners') && keysOf(text).includes('upstreams') && text.includes('bind:');

  describe('whole', () => {
    const whole = yaml.filter(({ text }) => isWhole(text));
    assert.ok(whole.length > 10);
    for (const { page, line, text } of whole) {
      test(`${page}:${line}`, async (t) => assert.deepEqual(await faults(t, text), []));
    }
  });

  describe('parts', () => {
    const parts = yaml.filter(({ text }) => !isWhole(text) && keysOf(text).some((key) => known.has(key)));
    for (const { page, line, text } of parts) {
      test(`${page}:${line}`, async (t) => assert.deepEqual(unknownKeys(await faults(t, text)), []));
    }
  });

  describe('client_auth', () => {
    const parts = yaml.filter(({ text }) => keysOf(text).every((key) => key === 'client_auth'));
    assert.ok(parts.length > 3);
    for (const { page, line, text } of parts) {
      const route = { tls: { certificates: 'a', ...parse(text) }, upstream: 'a' };
      const whole = stringify({ listeners: { a: { bind: ':1', routes: [route] } } });
      test(`${page}:${line}`, async (t) => assert.deepEqual(unknownKeys(await faults(t, whole)), []));
    }
  });

  test('what is checked can fail', async (t) => {
    const text = 'listeners: { a: { bind: ":1", rotes: [] } }\nupstreams: {}';
    assert.equal(unknownKeys(await faults(t, text)).length, 1);
  });
});

/** What penstock says of a configuration, without what it says of files that are missing. */
async function faults(t: Parameters<typeof temporaryDirectory>[0], text: string): Promise<string[]> {
  try {
    const shared = sharedText(Buffer.from(text));
    await loadText({ text: shared, name: 'penstock.yaml', directory: temporaryDirectory(t) }, {});
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.findings
      .map(({ path, message }) => `${path}: ${message}`)
      .filter((fault) => !/ does not exist$/.test(fault));
  }
}

function unknownKeys(faults: readonly string[]): string[] {
  return faults.filter((fault) => fault.includes('unknown key'));
}

const example = /```ts\n\/\/ only-office-hours\.ts\n(.*?)```/s.exec(readPage('docs/security.md'))?.[1] ?? '';

const certificate: ClientCertificate = {
  fingerprint: '00',
  spki: 'sha256:AA==',
  verifiedBy: 'authority',
  uris: ['spiffe://example.com/people/joan'],
  pem: '',
};

function client(certificate: ClientCertificate | undefined): ClientIdentity {
  return { listener: 'databases', route: 0, client: { address: '192.0.2.1', port: 1 }, certificate };
}

function isOfficeHour(): boolean {
  const now = new Date();
  return now.getUTCDay() % 6 !== 0 && now.getUTCHours() >= 7 && now.getUTCHours() < 18;
}

/** People on call come in at any time, the others of the CA in office hours, nobody else ever. */
test('the check in docs/security.md lets in whom it says', async (t) => {
  const directory = temporaryDirectory(t);
  const { 'only-office-hours.ts': path } = writeFiles(directory, { 'only-office-hours.ts': example });
  const { check, close, ready } = createAuthorizer(path);
  t.after(close);
  await ready();
  await check(client({ ...certificate, uris: ['spiffe://example.com/people/ada'] }));
  await assert.rejects(check(client(undefined)), /denied the client: no certificate of our CA/);
  const pinned: ClientCertificate = {
    ...certificate,
    uris: ['spiffe://example.com/people/ada'],
    verifiedBy: 'pin',
  };
  await assert.rejects(check(client(pinned)), { code: 'ERR_AUTHORIZE_DENIED' });
  const isOpen = isOfficeHour();
  const outcome = await check(client(certificate)).then(
    () => 'let in',
    (error) => error.message,
  );
  // Unless the hour has just struck.
  if (isOpen === isOfficeHour()) {
    assert.match(outcome, isOpen ? /^let in$/ : /192\.0\.2\.1 came outside office hours$/);
  }
});
