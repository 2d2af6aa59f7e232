/**
 * Lists and limits of a listener decide before anything is read: deny wins over allow, limits count by listener and by
 * address (IPv6 by /64), each refusal has its code, and whoever leaves makes room for the next.
 */
import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { localQuota } from '../../src/ipc/quota.ts';
import { createAddressLimits, createTokenBuckets } from '../../src/listen/address-limits.ts';
import { createAdmission } from '../../src/listen/admission.ts';
import { createGate } from '../../src/listen/gate.ts';
import { blockList, inBlockList } from '../../src/net/address.ts';
import { createAuthority } from '../support/certificates.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { sslRequest } from '../support/postgres.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient, unixClient } from '../support/raw-client.ts';

/** An echo behind a plain listener with these rules. */
async function plainProxy(t: TestContext, rules: object): Promise<RunningProxy> {
  const { port } = await echoUpstream(t);
  return startProxy(t, {
    listeners: { plain: { ...rules, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  });
}

/** A client that has got its first byte through, and stays. */
async function stay(t: TestContext, port: number, from = '127.0.0.1'): Promise<RawClient> {
  const client = rawClient(t, port, { localAddress: from });
  client.socket.write('x');
  await client.until(1);
  return client;
}

async function isServed(t: TestContext, port: number, from: string): Promise<boolean> {
  const client = rawClient(t, port, { localAddress: from });
  client.socket.end('x');
  return (await client.closed).received.toString() === 'x';
}

describe('allow and deny', () => {
  it('let in addresses of `allow`, but none of `deny`', async (t) => {
    const rules = { allow: ['127.0.0.0/28'], deny: ['127.0.0.3'] };
    const proxy = await plainProxy(t, rules);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.2'), true);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.3'), false);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.16'), false);
    for (const client of ['127.0.0.3', '127.0.0.16']) {
      const line = await proxy.connectionLine((it) => String(it['client']).startsWith(`${client}:`));
      assert.deepEqual(
        { code: line['code'], phase: line['phase'], side: line['side'], upstream: line['upstream'] },
        { code: 'ERR_ADDRESS_DENIED', phase: 'admit', side: 'proxy', upstream: undefined },
      );
    }
  });

  it('take networks of IPv6 for no addresses of IPv4', async (t) => {
    const proxy = await plainProxy(t, { bind: ['127.0.0.1:0', '[::1]:0'], allow: ['127.0.0.2', '::/0'] });
    assert.equal(await isServed(t, proxy.port(), '127.0.0.2'), true);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.1'), false);
    const v6 = [
      '::',
      '::1',
      '::2:0:0:0',
      '::fffe:0:1',
      '::1:0:0',
      '1::',
      '2001:db8::1',
      'ffff::1',
      '::8000:0:0',
    ];
    for (const wide of ['::/0', '::/1', '::/17', '::/79', '::/80', '::/64']) {
      const list = blockList([wide]);
      assert.equal(inBlockList(list, '127.0.0.1'), false, wide);
      assert.equal(inBlockList(list, '255.255.255.255'), false, wide);
      const bare = new BlockList();
      bare.addSubnet('::', Number(wide.slice(3)), 'ipv6');
      for (const address of v6)
        assert.equal(inBlockList(list, address), bare.check(address, 'ipv6'), `${address} ${wide}`);
    }
  });

  it('know an IPv4 client that came in over IPv6', async (t) => {
    const denying = await plainProxy(t, { bind: ':0', deny: ['127.0.0.0/8'] });
    assert.equal(await isServed(t, denying.port(), '127.0.0.1'), false);
    const allowing = await plainProxy(t, { bind: ':0', allow: ['::ffff:127.0.0.0/104'] });
    assert.equal(await isServed(t, allowing.port(), '127.0.0.1'), true);
  });

  it('with `allow`, keep a client on a unix socket out: it has no address', async (t) => {
    const proxy = await plainProxy(t, { bind: 'unix:in.sock', allow: ['0.0.0.0/0', '::/0'] });
    const client = unixClient(t, `${proxy.directory}/in.sock`);
    client.socket.end('x');
    assert.equal((await client.closed).received.length, 0);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_ADDRESS_DENIED');
  });
});

describe('limits', () => {
  it('hold open connections of the listener to a number, and let the next in when one has left', async (t) => {
    const proxy = await plainProxy(t, { limits: { connections: 2 } });
    const first = await stay(t, proxy.port());
    await stay(t, proxy.port());
    assert.equal(await isServed(t, proxy.port(), '127.0.0.1'), false);
    const line = await proxy.connectionLine(({ code }) => code === 'ERR_CONNECTION_LIMIT');
    assert.equal(line['phase'], 'admit');
    first.socket.end();
    await first.closed;
    await eventually(async () => assert.ok(await isServed(t, proxy.port(), '127.0.0.1')));
  });

  it('hold those of one address to a number, whatever the others do', async (t) => {
    const proxy = await plainProxy(t, { limits: { connections_per_ip: 1 } });
    const first = await stay(t, proxy.port(), '127.0.0.1');
    assert.equal(await isServed(t, proxy.port(), '127.0.0.1'), false);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.2'), true);
    await proxy.connectionLine(({ code }) => code === 'ERR_CONNECTION_LIMIT_PER_IP');
    // A reset leaves as well as an end does.
    first.socket.resetAndDestroy();
    await eventually(async () => assert.ok(await isServed(t, proxy.port(), '127.0.0.1')));
  });

  it('give a place back after every kind of end: refused, not TLS, no route', async (t) => {
    const { port } = await echoUpstream(t);
    const limits = { connections: 1, connections_per_ip: 1 };
    const routes = [{ sni: 'only.example', tls: 'passthrough', upstream: 'echo' }];
    const proxy = await startProxy(t, {
      listeners: { tls: { limits, routes } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
    });
    const ends = [
      ['GET / HTTP/1.0\r\n\r\n', 'ERR_NOT_TLS'],
      [capturedHello('openssl-no-sni'), 'ERR_NO_ROUTE'],
      ['', 'ERR_CLIENT_CLOSED'],
    ] as const;
    for (const [bytes, expected] of ends) {
      // Its predecessor's place may still be taken for the moment that a close takes.
      await eventually(async () => {
        const before = proxy.log.length;
        const client = rawClient(t, proxy.port());
        client.socket.end(bytes);
        await client.closed;
        await eventually(() => {
          const codes = proxy.log.slice(before).map(({ code }) => code);
          assert.ok(codes.includes(expected), `${codes}`);
        }, 100);
      });
    }
  });

  it('let an address connect at a rate, others at their own', async (t) => {
    const proxy = await plainProxy(t, { limits: { rate_per_ip: '2/h' } });
    assert.equal(await isServed(t, proxy.port(), '127.0.0.1'), true);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.1'), false);
    assert.equal(await isServed(t, proxy.port(), '127.0.0.2'), true);
    const line = await proxy.connectionLine(({ code }) => code === 'ERR_RATE_LIMIT_PER_IP');
    assert.match(String(line['error']), /127\.0\.0\.1/);
  });
});

describe('a rate', () => {
  it('allows a burst of one second, then as much as time brings', () => {
    const take = createTokenBuckets(10);
    const taken = (now: number) => {
      let count = 0;
      while (take('a', now)) count += 1;
      return count;
    };
    assert.equal(taken(0), 10);
    assert.equal(taken(50), 0);
    assert.equal(taken(100), 1);
    assert.equal(taken(400), 3);
    // Silence saves up no more than one second's worth.
    assert.equal(taken(3_600_000), 10);
    assert.equal(take('b', 3_600_000), true);
  });

  it('of less than one a second allows the first at once', () => {
    const take = createTokenBuckets(1 / 60);
    assert.equal(take('a', 0), true);
    assert.equal(take('a', 59_000), false);
    assert.equal(take('a', 60_000), true);
  });
});

describe('per-address limits', () => {
  const limits = {
    connections: 20_000,
    connections_per_ip: 1,
    rate_per_ip: Number.POSITIVE_INFINITY,
    handshakes: 1000,
  };
  const rules = { limits };
  const perIp = { code: 'ERR_CONNECTION_LIMIT_PER_IP' };

  it('count IPv6 clients by their /64', () => {
    const admission = createAdmission(rules, {
      connections: localQuota(1),
      byAddress: createAddressLimits(limits),
    });
    const leave = admission.admit('2001:db8:1:2::1') as () => void;
    assert.throws(() => admission.admit('2001:db8:1:2:ffff::9'), perIp);
    assert.ok(admission.admit('2001:db8:1:3::1'));
    leave();
    assert.ok(admission.admit('2001:db8:1:2:ffff::9'));
  });

  it('count IPv4 clients by their address', () => {
    const admission = createAdmission(rules, {
      connections: localQuota(1),
      byAddress: createAddressLimits(limits),
    });
    admission.admit('192.0.2.1');
    assert.ok(admission.admit('192.0.2.2'));
    assert.throws(() => admission.admit('192.0.2.1'), perIp);
  });
});

describe('handshakes in progress', () => {
  async function gatedProxy(t: TestContext, listener: object): Promise<RunningProxy> {
    const authority = await createAuthority();
    const { chain, key } = await authority.issue({ dns: ['a.example'] });
    const { port } = await echoUpstream(t);
    const routes = [{ tls: { certificates: ['own'] }, upstream: 'echo' }];
    return startProxy(
      t,
      {
        certificates: { own: { cert: 'own.crt', key: 'own.key' } },
        listeners: { gated: { limits: { handshakes: 1 }, ...listener, routes } },
        upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
      },
      { 'own.crt': chain, 'own.key': key },
    );
  }

  /** So many that were accepted, and then say hello at once; they stay, and say nothing more. */
  async function burst(t: TestContext, port: number, count: number): Promise<RawClient[]> {
    const clients = Array.from({ length: count }, () => rawClient(t, port));
    for (const { socket } of clients) socket.write(sslRequest);
    await Promise.all(clients.map((client) => client.until(1)));
    for (const { socket } of clients) socket.write(capturedHello('node-26'));
    return clients;
  }

  it('are answered however many clients stall theirs: a place is for computing, not for waiting', async (t) => {
    const proxy = await gatedProxy(t, { starttls: 'postgres', timeouts: { handshake: 'off' } });
    const stalled = await burst(t, proxy.port('gated'), 50);
    await Promise.all(stalled.map((client) => client.until(2)));
    const honest = await burst(t, proxy.port('gated'), 1);
    await honest[0]?.until(2);
    assert.ok(stalled.every(({ socket }) => !socket.closed));
  });

  it('have their deadline while they wait, and the log says that the limit was it', async (t) => {
    const timeouts = { client_hello: 'off', handshake: '20ms' };
    const proxy = await gatedProxy(t, { starttls: 'postgres', timeouts });
    // A millisecond is left to them when they say hello, and only one of them is computed for at a time.
    const clients = await burst(t, proxy.port('gated'), 100);
    await Promise.all(clients.map(({ closed }) => closed));
    const line = await proxy.connectionLine(({ code }) => code === 'ERR_HANDSHAKE_LIMIT');
    assert.equal(line['side'], 'proxy');
    assert.match(String(line['hint']), /listeners\.gated\.limits\.handshakes/);
  });

  const stays = () => false;

  it('beyond the limit wait for a later turn of the event loop, in order, and whoever has gone is passed over', async () => {
    const gate = createGate(2);
    const came: number[] = [];
    const gone = new Set([4]);
    for (let client = 0; client < 8; client += 1) {
      const turn = gate.enter(() => gone.has(client));
      if (turn === undefined) came.push(client);
      else void turn.come.then(() => came.push(client));
    }
    const turns: number[][] = [];
    for (let turn = 0; turn < 4; turn += 1) {
      turns.push(came.splice(0));
      await nextTurn();
    }
    assert.deepEqual(turns, [[0, 1], [2, 3], [5, 6], [7]]);
  });

  it('that are given up leave nothing behind', async () => {
    const gate = createGate(1);
    assert.equal(gate.enter(stays), undefined);
    const turns = Array.from({ length: 10_000 }, () => gate.enter(stays));
    assert.equal(gate.waiting(), 10_000);
    for (const turn of turns) turn?.giveUp();
    assert.equal(gate.waiting(), 0);
    await nextTurn();
    assert.equal(gate.enter(stays), undefined);
  });
});
