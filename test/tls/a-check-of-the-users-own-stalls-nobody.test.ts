/**
 * `authorize`: only `true` lets a client in, everything else denies with a code that says why, and a check that loops,
 * crashes or never answers costs its own client, not the others and not the process.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { ProxyError } from '../../src/errors.ts';
import {
  type Authorizer,
  type AuthorizerOptions,
  createAuthorizer,
} from '../../src/tls/client-auth/authorize.ts';
import type { ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

/** A check that is told what to do by the name that the client asks for. */
const behaviours = `
import { setTimeout as wait } from 'node:timers/promises';
export default function check({ sni, client }) {
  switch (sni) {
    case 'allow': return true;
    case 'allow later': return wait(20).then(() => true);
    case 'deny': return false;
    case 'deny later': return wait(20).then(() => false);
    case 'reason': return { deny: 'only in office hours' };
    case 'injection': return { deny: 'a\\nb\\u001b[31m\\u202ec' + 'x'.repeat(1000) };
    case 'port': return client.port === 5432;
    case 'throw': throw new Error('no such table');
    case 'reject': return Promise.reject(new Error('no such table'));
    case 'throw nothing': throw undefined;
    case 'loop': for (;;);
    case 'loop later': return wait(20).then(() => { for (;;); });
    case 'never': return new Promise(() => {});
    case 'exit': process.exit(0);
    case 'uncaught': setImmediate(() => { throw new Error('uncaught'); }); return wait(10_000);
    case 'memory': { const kept = []; for (;;) kept.push(new Array(1e6).fill(kept.length)); }
    case 'print': console.log('printed'); console.error('complained'); return true;
    default: return JSON.parse(sni);
  }
}
`;

function start(t: TestContext, source: string, options?: AuthorizerOptions, file = 'check.mjs'): Authorizer {
  const path = join(temporaryDirectory(t), file);
  writeFileSync(path, source);
  const authorizer = createAuthorizer(path, options);
  t.after(() => authorizer.close());
  return authorizer;
}

function client(sni: string): ClientIdentity {
  return { listener: 'l', route: 0, sni, client: { address: '10.0.0.1', port: 5432 } };
}

/** `ok`, or the code and message of the refusal. */
async function outcome(authorizer: Authorizer, sni: string): Promise<string> {
  try {
    await authorizer.check(client(sni));
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof ProxyError, String(error));
    return `${error.code} ${error.message}`;
  }
}

test('only true lets in, and each other answer is told apart', async (t) => {
  const authorizer = start(t, behaviours);
  const table: [string, RegExp][] = [
    ['allow', /^ok$/],
    ['allow later', /^ok$/],
    ['port', /^ok$/],
    ['deny', /^ERR_AUTHORIZE_DENIED .*check\.mjs denied the client$/],
    ['deny later', /^ERR_AUTHORIZE_DENIED /],
    ['reason', /^ERR_AUTHORIZE_DENIED .*: only in office hours$/],
    ['throw', /^ERR_AUTHORIZE_FAILED .*it threw: no such table$/],
    ['reject', /^ERR_AUTHORIZE_FAILED .*it threw: no such table$/],
    ['throw nothing', /^ERR_AUTHORIZE_FAILED .*it threw: a value of type undefined$/],
    ['1', /^ERR_AUTHORIZE_FAILED .*a value of type number/],
    ['"true"', /^ERR_AUTHORIZE_FAILED .*a value of type string/],
    ['null', /^ERR_AUTHORIZE_FAILED .*null/],
    ['{}', /^ERR_AUTHORIZE_FAILED .*a value of type object/],
    ['{"allow":true}', /^ERR_AUTHORIZE_FAILED /],
    ['{"deny":false}', /^ERR_AUTHORIZE_FAILED /],
    ['[true]', /^ERR_AUTHORIZE_FAILED /],
    ['{"deny":""}', /^ERR_AUTHORIZE_DENIED /],
  ];
  await authorizer.ready();
  const outcomes = await Promise.all(table.map(([sni]) => outcome(authorizer, sni)));
  for (const [index, [sni, expected]] of table.entries()) assert.match(outcomes[index]!, expected, sni);
});

test('the words of a module are made fit for a log', async (t) => {
  const text = await outcome(start(t, behaviours), 'injection');
  assert.match(text, /: a b \[31m cx+\.\.\.$/);
  assert.ok(text.length < 600);
});

test('a check that loops forever costs its own client only', async (t) => {
  // Long enough for a thread to start anew on a busy machine.
  const authorizer = start(t, behaviours, { timeoutMs: 2000 });
  await authorizer.ready();
  for (const loop of ['loop', 'loop later']) {
    const [before, looping, ...behind] = await Promise.all(
      ['allow later', loop, 'allow', 'allow later', 'reason'].map((sni) => outcome(authorizer, sni)),
    );
    assert.match(looping!, /^ERR_AUTHORIZE_TIMEOUT .*did not answer within 2000 ms/);
    assert.deepEqual([before, ...behind.slice(0, 2)], ['ok', 'ok', 'ok'], loop);
    assert.match(behind[2]!, /only in office hours/);
  }
});

test('a check that never answers costs its own client only, and not the thread', async (t) => {
  const counting = `let asked = 0;
    export default ({ sni }) => sni === 'count' ? { deny: String(++asked) } : new Promise(() => {});`;
  const authorizer = start(t, counting, { timeoutMs: 100 });
  await authorizer.ready();
  assert.match(await outcome(authorizer, 'count'), /: 1$/);
  assert.match(await outcome(authorizer, 'never'), /^ERR_AUTHORIZE_TIMEOUT /);
  assert.match(await outcome(authorizer, 'count'), /: 2$/);
});

test('a thread that ends is started again, and denies whose fault it was', async (t) => {
  // Filling its memory takes a thread seconds on a busy machine.
  const authorizer = start(t, behaviours, { timeoutMs: 30_000 });
  await authorizer.ready();
  const [exit, behind] = await Promise.all(['exit', 'allow'].map((sni) => outcome(authorizer, sni)));
  assert.match(exit!, /^ERR_AUTHORIZE_FAILED .*ended its thread \(exit code 0\)$/);
  assert.equal(behind, 'ok');
  for (const [sni, reason] of [
    ['uncaught', /^ERR_AUTHORIZE_FAILED .*ended its thread .*: uncaught/],
    ['memory', /^ERR_AUTHORIZE_FAILED .*ended its thread .*memory/],
  ] as const) {
    assert.match(await outcome(authorizer, sni), reason);
    assert.equal(await outcome(authorizer, 'allow'), 'ok');
  }
});

test('those who wait are bounded in number', async (t) => {
  const authorizer = start(t, behaviours, { timeoutMs: 1000 });
  const outcomes = await Promise.all(new Array(1010).fill('never').map((sni) => outcome(authorizer, sni)));
  const full = outcomes.filter((text) => /^ERR_AUTHORIZE_FAILED .*1000 clients waiting/.test(text));
  assert.equal(full.length, 10);
  assert.equal(outcomes.filter((text) => text.startsWith('ERR_AUTHORIZE_TIMEOUT ')).length, 1000);
  assert.equal(await outcome(authorizer, 'allow'), 'ok');
});

test('a module that cannot be used says so at the start, and denies', async (t) => {
  const table: [string, RegExp][] = [
    ['export default 1;', /default export is a value of type number, not a function/],
    ['export const check = () => true;', /default export is nothing, not a function/],
    ['export default (', /cannot be used: /],
    ['import "./missing.mjs"; export default () => true;', /missing\.mjs/],
    ['throw new Error("no database");', /no database/],
    ['process.exit(3);', /ended its thread \(exit code 3\)/],
  ];
  for (const [source, reason] of table) {
    const authorizer = start(t, source);
    await assert.rejects(authorizer.ready(), (error: ProxyError) => {
      assert.equal(error.code, 'ERR_AUTHORIZE_FAILED');
      assert.match(error.message, reason);
      return true;
    });
    assert.match(await outcome(authorizer, 'allow'), /^ERR_AUTHORIZE_(FAILED|TIMEOUT) /);
  }
  const missing = createAuthorizer('/nonexistent/check.mjs');
  t.after(() => missing.close());
  await assert.rejects(missing.ready(), { code: 'ERR_AUTHORIZE_FAILED' });
});

test('a module in TypeScript, with imports of its own', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'hours.ts'), 'export const open: boolean = true;');
  const path = join(directory, 'check.ts');
  writeFileSync(
    path,
    `import { open } from './hours.ts'; export default (client: { sni?: string }): boolean => open;`,
  );
  const first = createAuthorizer(path);
  t.after(() => first.close());
  assert.equal(await outcome(first, 'x'), 'ok');
  // A new authorizer, as after a reload, reads both files again.
  writeFileSync(join(directory, 'hours.ts'), 'export const open: boolean = false;');
  const second = createAuthorizer(path);
  t.after(() => second.close());
  assert.match(await outcome(second, 'x'), /^ERR_AUTHORIZE_DENIED /);
  assert.equal(await outcome(first, 'x'), 'ok');
});

test('what a module prints goes where it is told, not to our stdout', async (t) => {
  let output = '';
  const authorizer = start(t, behaviours, {
    onOutput(text) {
      output += text;
    },
  });
  assert.equal(await outcome(authorizer, 'print'), 'ok');
  await eventually(() => assert.ok(/printed/.test(output) && /complained/.test(output), output));
});

test('after close, and by it, everyone is denied', async (t) => {
  const authorizer = start(t, behaviours);
  await authorizer.ready();
  const waiting = outcome(authorizer, 'never');
  await authorizer.close();
  assert.match(await waiting, /^ERR_AUTHORIZE_FAILED .*was ended before it answered/);
  assert.match(await outcome(authorizer, 'allow'), /^ERR_AUTHORIZE_FAILED /);
});

test('an idle check keeps no process alive, and prints nothing into its output', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(join(directory, 'check.mjs'), behaviours);
  const main = join(directory, 'main.ts');
  const authorize = new URL('../../src/tls/client-auth/authorize.ts', import.meta.url).href;
  writeFileSync(
    main,
    `import { createAuthorizer } from ${JSON.stringify(authorize)};
    const authorizer = createAuthorizer(${JSON.stringify(join(directory, 'check.mjs'))});
    await authorizer.ready();
    await authorizer.check(${JSON.stringify(client('print'))});
    console.log('done');`,
  );
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main], { timeout: 20_000 });
  assert.equal(stdout, 'done\n');
  assert.equal(stderr, '');
});
