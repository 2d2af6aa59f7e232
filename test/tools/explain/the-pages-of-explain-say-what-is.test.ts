/** docs/explain.md: its configuration and cases hold, and each field that is printed as JSON is in its tables. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { LoadedConfig } from '../../../src/config/load.ts';
import { loadConfig } from '../../../src/config/sources/file.ts';
import { findHello } from '../../../src/tools/captures/find.ts';
import { anyClient } from '../../../src/tools/client/assumed-client.ts';
import { loadCases } from '../../../src/tools/expect/cases.ts';
import { judge } from '../../../src/tools/expect/outcome.ts';
import { jsonReport } from '../../../src/tools/expect/report.ts';
import { createExplainer } from '../../../src/tools/explain/explanation.ts';
import { describeHello } from '../../../src/tools/hello/describe.ts';
import { createRouteTables } from '../../../src/tools/hello/route-tables.ts';
import { writeAll } from '../../../src/tools/pki/directory.ts';
import { createAuthority, temporaryDirectory } from '../../support/certificates.ts';
import { capturedHello } from '../../support/client-hellos.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/explain.md'), 'utf8');
const [configuration = '', cases = ''] = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(
  (match) => match[1] ?? '',
);

async function load(t: TestContext): Promise<{ directory: string; loaded: LoadedConfig }> {
  const directory = temporaryDirectory(t);
  const ca = await createAuthority();
  const orders = await ca.issue({ dns: ['orders.db.example.com'], usage: 'server' });
  const files = {
    'penstock.yaml': configuration,
    'cases.yaml': cases,
    'tls/orders.db.example.com.crt': orders.cert,
    'tls/orders.db.example.com.key': orders.key,
    'tls/ca.crt': ca.cert,
    'tls/orders-app.crt': (await ca.issue({ cn: 'orders-app', usage: 'client' })).cert,
    'tls/reports-app.crt': (await ca.issue({ cn: 'reports-app', usage: 'client' })).cert,
  };
  writeAll(Object.fromEntries(Object.entries(files).map(([name, text]) => [join(directory, name), text])));
  return { directory, loaded: await loadConfig(join(directory, 'penstock.yaml')) };
}

/** Every key at any depth, but for those of the user's own rules. */
function keysOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(keysOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [key, ...(key === 'allow' ? [] : keysOf(inner))]);
}

function assertTold(value: unknown): void {
  const untold = [...new Set(keysOf(value))].filter((key) => !page.includes(`\`${key}\``));
  assert.deepEqual(untold, []);
}

test('the cases hold', async (t) => {
  const { directory, loaded } = await load(t);
  assert.deepEqual(loaded.warnings, []);
  const { cases: all } = await loadCases(join(directory, 'cases.yaml'), loaded);
  const explainer = createExplainer(loaded);
  t.after(() => explainer.close());
  assert.equal(all.length, 5);
  const outcomes = [];
  for (const one of all) outcomes.push(judge(one, await explainer.explain(one.listener, one.client)));
  assert.deepEqual(
    outcomes.flatMap(({ misses }) => misses),
    [],
  );
  const {
    cases: [first, ...rest],
    ...report
  } = jsonReport({ files: [{ file: 'x', outcomes }], untested: {} }) as {
    cases: { actual: object }[];
  };
  assert.equal(rest.length, 4);
  assertTold(report);
  assertTold(first);
});

test('each field of an explanation and of a hello is in its table', async (t) => {
  const { loaded } = await load(t);
  const explainer = createExplainer(loaded);
  t.after(() => explainer.close());
  const client = { ...anyClient, address: '10.1.2.3' };
  for (const sni of ['orders.db.example.com', 'a.tenants.example.com', 'old.example.com']) {
    assertTold(await explainer.explain('databases', { ...client, sni }));
  }
  const read = findHello(capturedHello('psql-15'));
  assert.ok(read);
  const tables = createRouteTables(loaded, undefined);
  t.after(() => tables.close());
  assertTold(describeHello(read, {}, await tables.route({ origin: {}, read })));
});
