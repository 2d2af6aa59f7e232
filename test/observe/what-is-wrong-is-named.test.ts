/**
 * What `/status`, the page and `top` say is wrong: each kind with its severity, the worst first, nothing where all is well; and
 * what the page says about each code.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionCodes } from '../../src/errors.ts';
import { assemblePage } from '../../src/observe/assemble-page.ts';
import { problemsOf } from '../../src/observe/problems.ts';
import type { EndpointStatus, Status } from '../../src/observe/status.ts';
import { frameLines } from '../../src/tools/top/frame.ts';
import { sampleStatus } from '../support/status.ts';

const well: Status = {
  ...sampleStatus(),
  problems: [],
  upstreams: [],
  certificates: [],
  authorities: [],
  last_reload: null,
  cluster: undefined,
};

function problems(differs: Partial<Status>): string[] {
  return problemsOf({ ...well, ...differs }).map(({ severity, text }) => `${severity}: ${text}`);
}

const endpoint = (state: EndpointStatus['state'], drained?: true): EndpointStatus => ({
  label: `10.0.0.1:${state}`,
  state,
  since: null,
  active: 0,
  drained,
});
const failing = (minute: string): EndpointStatus => ({
  ...endpoint('unchecked'),
  failing: true,
  last_error: 'it refused',
  last_error_at: `2026-11-29T${minute}:00.000Z`,
});
const listener = (name: string, active: number) => ({ ...sampleStatus().listeners[0]!, name, active });
const certificate = (days_left: number) => ({
  name: 'orders',
  key_type: 'ec',
  names: [],
  expires: '',
  days_left,
  pin: '',
});
const authority = (days_left: number, crl_days_left: number | null) => ({
  name: 'clients',
  expires: '',
  days_left,
  crl_next_update: null,
  crl_days_left,
});

for (const [what, differs, expected] of [
  ['nothing', {}, []],
  ['no worker', { ready: false }, ['bad: no worker serves']],
  ['a drain, which is meant', { ready: false, draining: true }, []],
  [
    'an upstream, and a part of one',
    {
      upstreams: [
        { name: 'a', endpoints: [endpoint('up'), endpoint('down')] },
        { name: 'b', endpoints: [endpoint('ejected')] },
        { name: 'c', endpoints: [endpoint('up', true)], drained: true },
        { name: 'd', endpoints: [endpoint('up', true), endpoint('up')] },
      ],
    },
    [
      'bad: upstream b is down',
      'warn: 10.0.0.1:down is down in a',
      'warn: upstream c is drained by an operator',
      'warn: drained by an operator in d: 10.0.0.1:up',
    ],
  ],
  [
    'what is full, or nearly',
    {
      listeners: [
        { ...listener('a', 89), limit: 100 },
        { ...listener('b', 90), limit: 100 },
        { ...listener('c', 100), limit: 100 },
        listener('d', 1000),
      ],
      upstreams: [
        { name: 'e', limit: 3, endpoints: [{ ...endpoint('up'), active: 2 }] },
        { name: 'f', limit: 3, endpoints: [1, 2].map((active) => ({ ...endpoint('up'), active })) },
      ],
    },
    [
      'bad: listener c has 100 of at most 100 connections: further clients are refused',
      'warn: listener b has 90 of at most 100 connections',
      'warn: upstream f has all of its 3 connections: further clients wait or are refused',
    ],
  ],
  [
    'dials that fail where nothing checks',
    {
      at: '2026-11-29T10:10:00.000Z',
      upstreams: [
        { name: 'a', endpoints: [failing('10:09'), endpoint('up')] },
        { name: 'b', endpoints: [failing('10:09')] },
        { name: 'c', endpoints: [failing('10:04')] },
        { name: 'd', endpoints: [{ ...failing('10:09'), failing: undefined }] },
        { name: 'e', endpoints: [{ ...failing('10:09'), state: 'ejected' }] },
      ],
    },
    [
      'bad: no connection to upstream b succeeds: it refused',
      'bad: upstream e is down',
      'warn: no connection to 10.0.0.1:unchecked in a succeeds: it refused',
    ],
  ],
  [
    'what ends',
    {
      certificates: [certificate(-1), certificate(0), certificate(20), certificate(21)],
      authorities: [authority(59, 2), authority(60, 3)],
    },
    [
      'bad: certificate orders has expired',
      'bad: certificate orders expires today',
      'warn: certificate orders expires in 20 days',
      'warn: authority clients expires in 59 days',
      'warn: the revocation list of clients expires in 2 days',
    ],
  ],
  [
    'a reload',
    { last_reload: { at: '', ok: false, faults: ['x.yaml:1:1: broken'] } },
    ['warn: the last reload failed: x.yaml:1:1: broken'],
  ],
  [
    'descriptors',
    {
      workers: [79, 80, 95].map((used, id) => ({
        id,
        pid: id,
        state: 'ready' as const,
        connections: 0,
        rss: 0,
        cpu_seconds: 0,
        busy_seconds: 0,
        descriptors: { used, capacity: 100 },
      })),
    },
    ['bad: worker 2 uses 95 of 100 file descriptors', 'warn: worker 1 uses 80 of 100 file descriptors'],
  ],
] as const satisfies readonly (readonly [string, Partial<Status>, readonly string[]])[]) {
  test(`wrong: ${what}`, () => assert.deepEqual(problems(differs), expected));
}

test('top names them below its head', () => {
  const lines = frameLines(sampleStatus(), undefined, { columns: 100, rows: 50, color: false });
  assert.deepEqual(lines.slice(2, 4), [
    '! certificate proxy-client expires in 2 days',
    '! 10.0.9.9:5432 is down in orders',
  ]);
});

test('the page knows every code', () => {
  const page = assemblePage();
  const [, json = ''] = /id="error-texts">(.*?)<\/script>/s.exec(page) ?? [];
  const texts = JSON.parse(json) as Record<string, { means: string; fault: string; remedy: string }>;
  for (const code of connectionCodes) {
    assert.ok(texts[code]?.means && texts[code].fault && texts[code].remedy, code);
    assert.doesNotMatch(JSON.stringify(texts[code]), /[`*]|\]\(/, code);
  }
});
