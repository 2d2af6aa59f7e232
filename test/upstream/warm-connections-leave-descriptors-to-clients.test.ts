/**
 * Each warm connection is counted among the open files of its worker, from before it is dialled until it has closed or a client has it, whose own
 * count it is then; and they never take the last quarter of them, which is for clients.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createDescriptors } from '../../src/process/descriptors.ts';
import { eventually } from '../support/eventually.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { recorder, warmConfig } from '../support/warm.ts';

test('descriptors', async (t) => {
  const upstream = await recorder(t);
  const descriptors = createDescriptors(20);
  const proxy = await startProxy(t, warmConfig(upstream, { warm: undefined }), {}, { descriptors });
  const listening = descriptors.used();
  await proxy.reload(warmConfig(upstream, { warm: { connections: 50 } }));
  await upstream.opened(15 - listening);
  assert.equal(descriptors.used(), 15);
  const clients = Array.from({ length: 2 }, () => rawClient(t, proxy.port()));
  for (const { socket } of clients) socket.write('ping');
  for (const client of clients) assert.equal(`${await client.until(4)}`, 'ping');
  // Two for each client; one for each that is ready.
  await eventually(() => assert.equal(descriptors.used(), listening + 2 + upstream.open().length));
  await proxy.reload(warmConfig(upstream, { warm: undefined }));
  await upstream.opened(2);
  await eventually(() => assert.equal(descriptors.used(), listening + 4));
  for (const { socket } of clients) socket.end();
  await eventually(() => assert.equal(descriptors.used(), listening));
});
