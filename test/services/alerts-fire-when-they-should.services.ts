/** Prometheus' own tool on what we tell it and ask of it: the metrics, the alert rules with their tests, the dashboard. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../support/certificates.ts';
import { exampleMetrics } from '../support/metrics.ts';
import { dashboardQueries, directory, readDashboard } from '../support/observability.ts';
import { run } from './process.ts';

test('the metrics are as Prometheus wants them', async () => {
  const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], {
    input: await exampleMetrics(),
  });
  assert.deepEqual([code, stdout + stderr], [0, '']);
});

test('the alert rules are valid, and fire when they should', async () => {
  const checked = await run('promtool', [
    'check',
    'rules',
    '--lint-fatal',
    `${directory}/penstock.rules.yml`,
  ]);
  assert.equal(checked.code, 0, checked.stdout + checked.stderr);
  const tested = await run('promtool', ['test', 'rules', 'penstock.rules.test.yml'], { cwd: directory });
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
});

test('every query of the dashboard is valid', async (t) => {
  const path = `${temporaryDirectory(t)}/dashboard.rules.yml`;
  const rules = dashboardQueries(readDashboard()).map((expr, index) => ({ record: `query:${index}`, expr }));
  writeFileSync(path, stringify({ groups: [{ name: 'dashboard', rules }] }));
  const { code, stdout, stderr } = await run('promtool', ['check', 'rules', path]);
  assert.equal(code, 0, stdout + stderr);
});
