/**
 * The Admin API with curl, as a user would: the requests of docs/admin-api.md as they stand there, and those
 * that APISIX's documentation has for upstreams, with another address.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { type Api, adminKey, issueFor, namedUpstream, startApi } from '../support/admin-api.ts';
import { writeFiles } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { run } from './process.ts';

const page = readFileSync(resolve(import.meta.dirname, '../../docs/admin-api.md'), 'utf8');

function addressOf({ penstock }: Api): string {
  return String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin_api']);
}

/** Runs a shell script in the directory of the configuration; returns what it prints. */
async function shell(api: Api, script: string): Promise<string> {
  const { directory } = api.penstock;
  const text = script
    .replaceAll('127.0.0.1:9180', addressOf(api))
    .replaceAll('/etc/penstock/', `${directory}/`)
    .replaceAll('curl ', 'curl -sS ');
  const { code, stdout, stderr } = await run('sh', ['-ec', `cd ${directory}\n${text}`]);
  assert.equal(code, 0, stderr);
  return stdout;
}

test('the page adds a tenant in three requests', async (t) => {
  const api = await startApi(t);
  const { cert, key } = await issueFor(['tenant.example.com']);
  writeFiles(api.penstock.directory, { 'tenant.crt': cert, 'tenant.key': key });
  const [script = ''] = /```sh\n(.*?)```/s.exec(page)?.slice(1) ?? [];
  assert.match(script, /stream_routes\/1/);
  const upstream = await namedUpstream(t, 'the tenant');
  // curl alone, where there is no jq.
  const body = JSON.stringify({ snis: ['tenant.example.com'], cert, key });
  writeFiles(api.penstock.directory, { 'ssl.json': body });
  const own = script.replace(/"\$\(jq.*?\)"/s, '@ssl.json').replace('10.0.1.5:5432', upstream);
  const said = await shell(api, own);
  assert.equal(said.trim().split('\n').length, 3);
  assert.doesNotMatch(said, /error_msg|PRIVATE KEY/);
  const servername = 'tenant.example.com';
  assert.equal((await tlsTalk(api.penstock.port('tenants'), { servername }, '')).text, 'the tenant');
});

const documented: readonly (readonly [request: string, status: number, answer: RegExp])[] = [
  [
    `http://127.0.0.1:9180/apisix/admin/upstreams/100 -H "X-API-KEY: $admin_key" -i -X PUT -d '
    { "type":"roundrobin", "nodes":{ "127.0.0.1:1980": 1 } }'`,
    201,
    /"id":"100"/,
  ],
  [
    `http://127.0.0.1:9180/apisix/admin/upstreams/100 -H "X-API-KEY: $admin_key" -X PATCH -i -d '
    { "nodes": { "127.0.0.1:1981": 10 } }'`,
    200,
    /"127\.0\.0\.1:1980":1,"127\.0\.0\.1:1981":10/,
  ],
  [
    `http://127.0.0.1:9180/apisix/admin/upstreams/100/nodes -H "X-API-KEY: $admin_key" -X PATCH -i -d '
    { "127.0.0.1:1982": 1 }'`,
    200,
    /"nodes":\{"127\.0\.0\.1:1982":1\}/,
  ],
  [
    `http://127.0.0.1:9180/apisix/admin/stream_routes/1 -i -H "X-API-KEY: $admin_key" -X PUT -d '
    { "remote_addr": "127.0.0.1", "upstream_id": "100" }'`,
    201,
    /"key":"\/apisix\/stream_routes\/1"/,
  ],
  [`http://127.0.0.1:9180/apisix/admin/upstreams/100 -i -H "X-API-KEY: $admin_key" -X DELETE`, 400, /in use/],
  [
    `"http://127.0.0.1:9180/apisix/admin/upstreams?page=1&page_size=10" -i -H "X-API-KEY: $admin_key" -X GET`,
    200,
    /"total":1,"list":\[/,
  ],
  [
    `"http://127.0.0.1:9180/apisix/admin/upstreams/100?force=true" -i -H "X-API-KEY: $admin_key" -X DELETE`,
    200,
    /\{"deleted":"1","key":"\/apisix\/upstreams\/100"\}/,
  ],
  [`http://127.0.0.1:9180/apisix/admin/upstreams/100 -i -H "X-API-KEY: $admin_key"`, 404, /"Key not found"/],
  ['http://127.0.0.1:9180/apisix/admin/upstreams -i', 401, /"description"/],
  [`http://127.0.0.1:9180/apisix/admin/routes/1 -i -H "X-API-KEY: $admin_key"`, 404, /error_msg/],
];

test('the requests of the documentation of APISIX', async (t) => {
  const api = await startApi(t);
  for (const [request, status, answer] of documented) {
    const said = await shell(api, `admin_key=${adminKey}\ncurl ${request}`);
    assert.equal(Number(/^HTTP\/1\.1 (\d+)/.exec(said)?.[1]), status, `${request}\n${said}`);
    assert.match(said, answer);
  }
  assert.ok(!readFileSync(join(api.penstock.directory, 'penstock.yaml'), 'utf8').includes(adminKey));
});
