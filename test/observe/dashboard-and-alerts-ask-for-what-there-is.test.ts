/**
 * Every metric and label that the Grafana dashboard and the alert rules ask for is one that penstock tells; every alert has
 * a test; the dashboard can be imported anywhere.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { exampleMetrics, parseMetrics } from '../support/metrics.ts';
import {
  dashboardQueries,
  directory,
  readDashboard,
  readRules,
  selectorsOf,
} from '../support/observability.ts';

/** Labels by metric; Prometheus adds the instance and its job. */
const told = new Map<string, Set<string>>();
for (const { name, labels } of parseMetrics(await exampleMetrics())) {
  told.set(name, new Set(['instance', 'job', ...Object.keys(labels), ...(told.get(name) ?? [])]));
}

function assertTold(query: string): void {
  const selectors = selectorsOf(query);
  assert.ok(selectors.length > 0, query);
  for (const { name, labels } of selectors) {
    const known = told.get(name);
    assert.ok(known, `${name} in ${query}`);
    for (const label of labels) assert.ok(known.has(label), `${label} of ${name} in ${query}`);
  }
}

test('the example has every metric that is in the code', () => {
  const code = ['families', 'exposition', 'hub']
    .map((file) => readFileSync(`${directory}/../../src/observe/${file}.ts`, 'utf8'))
    .join('\n');
  const names = [...code.matchAll(/'((?:penstock|process|nodejs)_\w+)'/g)].map(([, name = '']) => name);
  assert.ok(names.length > 30);
  const known = new Set([...told.keys()].map((name) => name.replace(/_(bucket|sum|count)$/, '')));
  assert.deepEqual(
    names.filter((name) => !known.has(name)),
    [],
  );
});

test('the dashboard asks for what there is', () => {
  const dashboard = readDashboard();
  const queries = dashboardQueries(dashboard);
  assert.ok(queries.length > 20);
  for (const query of queries) {
    assertTold(query);
    assert.ok(!query.includes('$'), query);
  }
  for (const { definition } of dashboard.templating.list) if (definition) assertTold(definition);
  const named = queries.flatMap(selectorsOf).map(({ name }) => name.replace(/_(bucket|sum|count)$/, ''));
  const metrics = [...told.keys()].map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  const unseen = metrics.filter((name) => !named.includes(name) && name !== 'process_start_time_seconds');
  assert.deepEqual(unseen, []);
});

test('docs/operations.md has a row for each metric with its labels, and for each alert', () => {
  const page = readFileSync(`${directory}/../../docs/operations.md`, 'utf8');
  const rows = new Map(
    page.split('\n').flatMap((line): [string, string][] => {
      const [, names = '', labels = ''] = line.split('|');
      return [...names.matchAll(/`?\b((?:penstock|process|nodejs)_\w+|Penstock\w+)/g)].map(
        ([, name = '']) => [name, labels],
      );
    }),
  );
  for (const [metric, labels] of told) {
    const row = rows.get(metric.replace(/_(bucket|sum|count)$/, ''));
    assert.notEqual(row, undefined, metric);
    for (const label of labels) {
      if (!['instance', 'job', 'le'].includes(label))
        assert.ok(row?.includes(`\`${label}\``), `${metric} ${label}`);
    }
  }
  for (const { alert } of readRules()) assert.ok(rows.has(alert), alert);
});

test('the dashboard can be imported anywhere: no data source of ours, no panel over another', () => {
  const { panels } = readDashboard();
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Set<string>();
  for (const { type, title, datasource, targets = [], gridPos } of panels) {
    const sources = [datasource, ...targets.map((target) => target.datasource)];
    if (type !== 'row') for (const source of sources) assert.equal(source?.uid, `\${datasource}`, title);
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(!cells.has(`${x} ${y}`), `${title} is over another panel`);
        cells.add(`${x} ${y}`);
      }
    }
  }
});

test('the alerts ask for what there is, and each is tested', () => {
  const rules = readRules();
  const tests = readFileSync(`${directory}/penstock.rules.test.yml`, 'utf8');
  assert.ok(rules.length > 10);
  for (const { alert, expr } of rules) {
    assertTold(expr);
    assert.match(tests, new RegExp(`\\b${alert}\\b`), `${alert} has no test`);
  }
});
